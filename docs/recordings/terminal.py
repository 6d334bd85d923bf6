"""A bash in a terminal, and what its screen shows after each command."""

import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

import pyte

LIMIT = 120
# More lines than any recording has, so that none leaves the screen; the picture scrolls.
LINES = 200
# What bash prints before a prompt, once; the prompt itself it may print again.
READY = "\033]0;ready\007"
PROMPT = "\033[32m$\033[0m "


class Pane:
    """One terminal. `names` are texts of this machine, and what the recording shows in their place."""

    def __init__(self, title, columns, rows, folder, environment, names):
        self.title, self.columns, self.rows, self.names = title, columns, rows, names
        self.screen = pyte.Screen(columns, LINES)
        self.stream = pyte.Stream(self.screen)
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text = self.held = ""
        # What every line shows, and from when on: (seconds, runs). A run is a text and its style.
        self.lines = [[] for _ in range(LINES)]
        # Commands: (seconds, line, column, letters).
        self.typed = []
        # The line that the cursor is in: (seconds, line).
        self.cursor = []
        pid, self.terminal = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
            os.chdir(folder)
            os.execve("/bin/bash", ["bash", "--norc", "--noprofile"], environment | {
                "PS1": r"\[\e[32m\]$\[\e[0m\] ", "PROMPT_COMMAND": r"printf '\e]0;ready\a'", "TERM": "xterm-256color",
                "HISTFILE": "/dev/null", "INPUTRC": "/dev/null", "COLUMNS": str(columns)})
        self.pid = pid
        self.write("bind 'set enable-bracketed-paste off'; clear\n")
        self.wait(lambda: self.prompts == 2)

    @property
    def prompts(self):
        """How many prompts there were, each whole."""
        return sum(PROMPT in part for part in self.text.split(READY)[1:])

    def write(self, text):
        os.write(self.terminal, text.encode())

    def read(self, seconds):
        """Takes what arrives within this time. Returns whether something did."""
        if not select.select([self.terminal], [], [], seconds)[0]:
            return False
        try:
            text = self.decoder.decode(os.read(self.terminal, 65536))
        except OSError:
            raise RuntimeError(f"the shell ended:\n{self.text}") from None
        text, self.held = self.held + text, ""
        for name, shown in self.names.items():
            text = text.replace(name, shown)
        # The rest of a name may come with the next read.
        held = max((size for name in self.names for size in range(1, len(name)) if text.endswith(name[:size])), default=0)
        text, self.held = text[:len(text) - held], text[len(text) - held:]
        self.text += text
        # pyte knows no dim text.
        self.stream.feed(text.replace("\033[2m", "\033[90m"))
        return True

    def wait(self, is_met, look=lambda: None):
        """Reads until the condition holds; calls `look` after each read."""
        end = time.monotonic() + LIMIT
        while not is_met():
            if self.read(0.05):
                look()
            elif time.monotonic() > end:
                raise RuntimeError(f"what the recording waits for never came:\n{self.text}")

    def snapshot(self, now):
        """Keeps what the screen shows."""
        for number in range(LINES):
            self.keep(number, now)
        self.cursor.append((now, self.screen.cursor.y))

    def keep(self, number, now):
        """Keeps a line, if it changed."""
        runs = self._runs(number)
        before = self.lines[number][-1][1] if self.lines[number] else []
        if runs != before:
            self.lines[number].append((now, runs))

    def _runs(self, number):
        runs = []
        line = self.screen.buffer[number]
        for column in range(self.columns):
            letter = line[column]
            style = " ".join(["bold"] * letter.bold + [letter.fg] * (letter.fg != "default"))
            if runs and runs[-1][1] == style:
                runs[-1][0] += letter.data
            else:
                runs.append([letter.data, style])
        if runs and not runs[-1][1]:
            runs[-1][0] = runs[-1][0].rstrip()
        return [run for run in runs if run[0]]

    def close(self):
        os.kill(self.pid, signal.SIGHUP)
        os.close(self.terminal)
        os.waitpid(self.pid, 0)

