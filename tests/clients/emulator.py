"""A `coshell serve` under test, and the base class of the tests."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest
import uuid

COSHELL = str(pathlib.Path(os.environ["COSHELL"]).resolve())
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# A folder without programs, so that no extension of the machine starts.
NO_EXTENSIONS = str(REPOSITORY / "docs")
# How long a test waits, in seconds. Far longer than anything takes on a busy machine.
LIMIT = 30
# An environment variable that every process of a test inherits.
ENVIRONMENT_TAG = "CLIENTS_TEST"


class Emulator:
    """A running `coshell serve`, at a free port on the loopback interface."""

    def __init__(self, task_root, arguments):
        self.tag = uuid.uuid4().hex
        self.text = ""
        self.open_streams = 2
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            [COSHELL, "serve", "--listen", "127.0.0.1:0", "--extensions", NO_EXTENSIONS, *arguments],
            cwd=task_root,
            env={**os.environ, ENVIRONMENT_TAG: self.tag},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for stream in (self.process.stdout, self.process.stderr):
            threading.Thread(target=self._read, args=(stream,), daemon=True).start()
        self.url = self.wait_log(r"(?:serving|loading|cannot load).*(http://127\.0\.0\.1:\d+)")[1]

    def _read(self, stream):
        with stream:
            for line in stream:
                with self.changed:
                    self.text += line.decode(errors="replace")
                    self.changed.notify_all()
        with self.changed:
            self.open_streams -= 1
            self.changed.notify_all()

    def log(self):
        """Standard output and standard error so far."""
        with self.changed:
            return self.text

    def wait_log(self, pattern, count=1):
        """Waits until `pattern` is in the log `count` times. Returns its last match."""
        found = []

        def is_there():
            found[:] = re.finditer(pattern, self.text)
            return len(found) >= count or self.open_streams == 0

        with self.changed:
            self.changed.wait_for(is_there, LIMIT)
            assert len(found) >= count, f"{pattern!r} is not in the log {count} times:\n{self.text}"
        return found[-1]

    def processes(self):
        """The pids of the emulator and of its running descendants."""
        entry = f"{ENVIRONMENT_TAG}={self.tag}".encode()
        for folder in pathlib.Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and entry in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)
            except OSError:
                pass  # it has ended, or belongs to another user

    def stop(self):
        """Sends SIGTERM. The emulator must end with status 0 and leave no process behind."""
        try:
            self.process.send_signal(signal.SIGTERM)
            status = self.process.wait(LIMIT)
            left = list(self.processes())
            assert status == 0, f"ended with {status}:\n{self.log()}"
            assert not left, f"left behind: {left}"
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
            self.process.wait(LIMIT)


class Case(unittest.TestCase):
    """What every test may use. Everything is removed after the test."""

    maxDiff = None

    def folder(self, files=None):
        """A temporary folder with these files: a dictionary from names to texts."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="coshell-clients-"))
        self.addCleanup(shutil.rmtree, folder)
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
            if text.startswith("#!"):
                (folder / name).chmod(0o755)
        return folder

    def serve(self, task_root, *arguments):
        """Starts `coshell serve` with these arguments, in a folder or in a new folder with these files."""
        if isinstance(task_root, dict):
            task_root = self.folder(task_root)
        emulator = Emulator(task_root, arguments)
        self.addCleanup(emulator.stop)
        return emulator

    def gate(self):
        """A FIFO. Opening it waits until the other side opens it too."""
        path = self.folder() / "gate"
        os.mkfifo(path)
        return path

    def open_gate(self, path):
        """Lets a process pass that waits at the gate, or that will wait there soon."""
        # Opened for reading and writing, so that this does not wait for the other side.
        opened = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, opened)
        os.write(opened, b"open\n")

    def meanwhile(self, call, *arguments, **options):
        """Calls `call` in a thread. Returns a function that waits for the result."""
        results = []

        def run():
            try:
                results.append((call(*arguments, **options), None))
            except BaseException as error:  # wait() raises it
                results.append((None, error))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def wait():
            thread.join(LIMIT)
            assert results, "still running"
            value, error = results[0]
            if error:
                raise error
            return value

        return wait
