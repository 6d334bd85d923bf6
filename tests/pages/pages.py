"""The pages: their commands and handlers run as they stand there, and print what the pages show."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

from page import blocks, commands, is_shown, sessions, settled
from services import Services

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILT = pathlib.Path(os.environ["COSHELL"]).resolve().parent
LIMIT = 60
# Pages, and folders of pages, that other tests run: tests/deploy/guide.py, and the tests of the recipes.
ELSEWHERE = ("deploy", "recipes")
# What a command exports is there for the next ones.
SESSION = 'trap "export -p >\\"$1\\"" EXIT; . "$1"; eval "$2"'
AWS = """#!/bin/bash
[[ $* == *--endpoint-url* ]] || set -- --endpoint-url "$AWS_ENDPOINT_URL" "$@"
exec /usr/bin/aws "$@"
"""
INSTRUCTIONS = "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM LABEL RUN SHELL USER VOLUME WORKDIR".split()


def pages():
    """The pages whose blocks run here."""
    found = sorted((REPOSITORY / "docs").rglob("*.md"))
    found = [page for page in found if page.parent.name not in ELSEWHERE and page.stem not in ELSEWHERE]
    return [REPOSITORY / "README.md", REPOSITORY / "examples/README.md", *found]


class Reader:
    """Somebody who reads a page, and types its commands in a folder."""

    def __init__(self, page, case, services):
        self.page, self.case = page, case
        self.folder = pathlib.Path(case.enterContext(tempfile.TemporaryDirectory(dir=programs().parent)))
        (self.folder / "examples").symlink_to(REPOSITORY / "examples")
        self.session = pathlib.Path(case.enterContext(tempfile.NamedTemporaryFile()).name)
        # As at a terminal, where its progress does not mix with the output.
        (self.folder / ".curlrc").write_text("silent\nshow-error\n")
        self.server = None
        self.address = "localhost:9000"
        self.printed = None
        # Files that no command has named yet.
        self.unused = set()
        self.environment = {
            "PATH": f"{programs()}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "STEP_SECONDS": "0",
            # As in an image that has neither.
            "COSHELL_COMMANDS": "jq,aws",
            **services.environment(page.read_text()),
        }

    def read(self):
        for block in blocks(self.page.read_text()):
            try:
                self.take(block)
            except AssertionError as error:
                raise AssertionError(f"{self.page.relative_to(REPOSITORY)}:{block.line}: {error}") from error
        self.stop()
        assert not self.unused, f"{self.page.name}: no command calls {', '.join(self.unused)}"

    def take(self, block):
        word, _, rest = block.kind.partition(" ")
        match (block.language, block.kind):
            case _, kind if kind.startswith("not run: "):
                assert len(kind.split()) > 3, "the reason is missing"
            case _, kind if kind.startswith("run by "):
                file, _, text = kind.removeprefix("run by ").partition(": ")
                assert text and text in (REPOSITORY / file).read_text(), f"{file} has no {text}"
            case _, kind if kind.startswith("part of "):
                whole = (REPOSITORY / kind.removeprefix("part of ")).read_text()
                assert block.text in whole, f"{kind.removeprefix('part of ')} differs"
                if block.language == "bash":
                    self.write("function.sh", block.text)
            case "bash", "":
                self.write("function.sh", block.text)
            case "bash", "body":
                self.write("function.sh", "handler() {\n" + block.text + "}\n")
            case _, kind if word == "file":
                self.write(rest, block.text)
            case "sh", "":
                self.printed = "".join(self.run(command, succeeds=True) for command in commands(block.text))
            case "console", "":
                for command, shown in sessions(block.text):
                    self.compare(block, shown, self.run(command, succeeds=not shown))
            case _, "output":
                assert self.printed is not None, "no command stands above"
                self.compare(block, block.text, self.printed)
            case _, kind if kind.startswith("output of: "):
                self.compare(block, block.text, self.run(kind.removeprefix("output of: "), succeeds=False))
            case _, "log":
                self.server.wait_log(settled(self.real(block.text)))
            case "python", "":
                (self.folder / "program.py").write_text(self.real(block.text))
                self.run(f"{sys.executable} program.py", succeeds=True)
            case "dockerfile", "":
                check_dockerfile(block.text)
            case _:
                raise AssertionError(f"nothing says what this block is: {block.language} {block.kind}")

    def write(self, name, text):
        assert name not in self.unused, f"no command calls the {name} above"
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if text.startswith("#!"):
            file.chmod(0o755)
        if file.suffix == ".sh":
            checked = subprocess.run(["bash", "-n", file], stderr=subprocess.PIPE, text=True)
            assert checked.returncode == 0, checked.stderr
        self.note_uses(text)
        self.unused.add(name)

    def note_uses(self, text):
        """A command, or another file, may name a file: by its name, or as part of a handler's name."""
        self.unused = {name for name in self.unused if name not in text and name.rpartition(".")[0] + "." not in text}

    def compare(self, block, shown, printed):
        printed = self.shown(printed)
        if block.language == "json":
            assert json.loads(settled(shown)) == json.loads(settled(printed)), f"it printed:\n{printed}"
        else:
            assert is_shown(shown, printed), f"expected:\n{shown}it printed:\n{printed}"

    def shown(self, text):
        """What a command printed, with the places that the pages show."""
        return text.replace(f"{self.folder}/", "/var/task/").replace(str(self.folder), "/var/task").replace(self.address, "localhost:9000")

    def real(self, text):
        return text.replace("localhost:9000", self.address)

    def run(self, command, succeeds):
        """Runs a command. Returns what it prints; a server goes on behind the others."""
        self.note_uses(command)
        command = command.replace("cargo run -- ", "coshell ")
        if re.match(r"(\w+=\S+ )*coshell serve\b", command):
            self.stop()
            self.server = Server(command, self.folder, self.environment)
            self.address = self.server.address
            return ""
        done = subprocess.run(
            ["bash", "-uo", "pipefail", "-c", SESSION, "bash", self.session, self.real(command)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            text=True,
        )
        assert done.returncode == 0 or not succeeds, f"{command}: status {done.returncode}\n{done.stdout}"
        return done.stdout

    def stop(self):
        if self.server:
            self.server.stop()
            self.server = None


class Server:
    """A `coshell serve` of a page, at a free port."""

    def __init__(self, command, folder, environment):
        served = f"exec coshell serve --listen 127.0.0.1:0 --extensions {REPOSITORY}/docs"  # a folder without programs
        command = re.sub(r"coshell serve\b", served, command.split("  #")[0].removesuffix(" &"), count=1)
        self.text = ""
        self.has_ended = False
        self.changed = threading.Condition()
        self.process = subprocess.Popen(["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self._wait(lambda: "http://" in self.text)
        served = re.search(r"(?:serving|loading).*http://(127\.0\.0\.1:\d+)", self.text)
        if not served:
            self.stop()
            raise AssertionError(f"coshell serve printed:\n{self.text}")
        self.address = served[1]

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.text += line
                self.changed.notify_all()
        with self.changed:
            self.has_ended = True
            self.changed.notify_all()

    def _wait(self, is_met):
        with self.changed:
            self.changed.wait_for(lambda: is_met() or self.has_ended, LIMIT)
            assert is_met(), f"coshell serve printed:\n{self.text}"

    def wait_log(self, text):
        self._wait(lambda: text in settled(self.text))

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(LIMIT)
        self.reader.join(LIMIT)
        self.process.stdout.close()


def check_dockerfile(text):
    """Docker checks more, at night: tests/image. Here: instructions, lists, and images that there are."""
    for line in text.replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            assert word in INSTRUCTIONS, f"{word} is no instruction"
            if word == "FROM":
                target = re.fullmatch(r"coshell-([\w-]+)", rest)
                known = target and re.search(rf"(?m)^FROM .* AS {target[1]}$", (REPOSITORY / "Dockerfile").read_text())
                assert known or rest == "public.ecr.aws/lambda/provided:al2023", f"there is no image {rest}"
            if rest.startswith("["):
                assert all(isinstance(part, str) for part in json.loads(rest)), line


def programs():
    """A folder with coshell and, for `coshell package`, static programs in the place of those that take a minute to build."""
    folder = BUILT.parent / "tmp/pages/programs"
    if not programs.made:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("coshell", "coshell-tools"):
            os.link(BUILT / name, folder / name)
        shutil.copy("/usr/bin/bash-static", folder / "bootstrap")
        # Debian's AWS CLI does not know AWS_ENDPOINT_URL.
        (folder / "aws").write_text(AWS)
        (folder / "aws").chmod(0o755)
        programs.made = True
    return folder


programs.made = False


class Case(unittest.TestCase):
    """The class by which tests/run finds tests."""


class Pages(Case):
    """Each page is a test."""

    @classmethod
    def setUpClass(cls):
        cls.services = Services()
        cls.addClassCleanup(cls.services.stop)


def test_of(page):
    def test(self):
        reader = Reader(page, self, self.services)
        self.addCleanup(reader.stop)
        reader.read()

    return test


for path in pages():
    setattr(Pages, re.sub(r"\W", "_", str(path.relative_to(REPOSITORY).with_suffix(""))), test_of(path))
