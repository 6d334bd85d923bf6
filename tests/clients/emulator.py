"""A `coshell serve` under test, and what the tests share."""

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
# For whatever should happen at once: ample, for a machine that is busy.
LIMIT = 30
# In the environment of all that a test starts.
MARK = "CLIENTS_TEST"


class Served:
    """A running `coshell serve`, at a free port of loopback."""

    def __init__(self, task_root, words):
        self.mark = uuid.uuid4().hex
        self.text = ""
        self.open_streams = 2
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            [COSHELL, "serve", "--listen", "127.0.0.1:0", "--extensions", "/nonexistent", *words],
            cwd=task_root,
            env={**os.environ, MARK: self.mark},
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
        """Waits until `pattern` is in the log so many times; the last of its matches."""
        found = []

        def is_there():
            found[:] = re.finditer(pattern, self.text)
            return len(found) >= count or self.open_streams == 0

        with self.changed:
            self.changed.wait_for(is_there, LIMIT)
            assert len(found) >= count, f"not {count} times {pattern!r} in the log:\n{self.text}"
        return found[-1]

    def processes(self):
        """All that live of it and of what it started."""
        entry = f"{MARK}={self.mark}".encode()
        for folder in pathlib.Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and entry in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)
            except OSError:
                pass  # it has ended, or is another user's

    def end(self):
        """Asks it to end, which has to be in order, with nothing left."""
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
    """What every test may use. All of it is gone after the test."""

    maxDiff = None

    def folder(self, files=None):
        """A temporary folder with these files: their texts by their names."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="coshell-clients-"))
        self.addCleanup(shutil.rmtree, folder)
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
            if text.startswith("#!"):
                (folder / name).chmod(0o755)
        return folder

    def serve(self, task_root, *words):
        """`coshell serve WORDS` in a folder, or in one with these files."""
        if isinstance(task_root, dict):
            task_root = self.folder(task_root)
        served = Served(task_root, words)
        self.addCleanup(served.end)
        return served

    def gate(self):
        """A FIFO: who opens it waits until the other side does."""
        path = self.folder() / "gate"
        os.mkfifo(path)
        return path

    def open_gate(self, path):
        """Lets through who waits at the gate, or will wait there in a moment."""
        # For both sides, so that it does not wait for one who never comes.
        opened = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, opened)
        os.write(opened, b"open\n")

    def meanwhile(self, call, *arguments, **options):
        """Calls it in a thread; a function that waits for what it returns."""
        results = []

        def run():
            try:
                results.append((call(*arguments, **options), None))
            except BaseException as error:  # for the one who waits
                results.append((None, error))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def wait():
            thread.join(LIMIT)
            assert results, "still under way"
            value, error = results[0]
            if error:
                raise error
            return value

        return wait
