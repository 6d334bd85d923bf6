"""An AWS of our own: moto on loopback, a registry for images, and what the tests share.

moto keeps what it is told, and runs nothing: what was published is run by the tests themselves.
"""

import atexit
import json
import logging
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

# Before moto reads them. AWS's own policies are there to be attached to roles.
os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"

from moto.backends import get_backend
from moto.server import ThreadedMotoServer

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples" / "deploy"
# Where coshell and bootstrap are, both static.
PROGRAMS = pathlib.Path(os.environ["PROGRAMS"]).resolve()
TOOLS = pathlib.Path(sys.executable).parent
# The handler's base image; where no image can be pulled, a stand-in of that name.
BASE = "public.ecr.aws/lambda/provided:al2023"
ACCOUNT = "123456789012"
REGION = "eu-north-1"
# For whatever should happen at once: ample, for a machine that is busy.
LIMIT = 60
# In front of whatever is Docker's, so that it is known as ours.
PREFIX = "coshell-deploy-"
# moto's server tells of every call.
logging.getLogger("werkzeug").setLevel(logging.ERROR)


def run(command, **options):
    """Runs it to its end, which has to be a good one; what it printed."""
    options = {"input": "", "timeout": 5 * LIMIT, "text": True, **options}
    ended = subprocess.run(command, capture_output=True, **options)
    told = f"{command}: status {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    assert ended.returncode == 0, told
    return ended.stdout


def fetch(url, data=None, headers=None):
    """An answer's body."""
    request = urllib.request.Request(url, data=data, headers=headers or {})
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        return answer.read()


def wait_until(condition, what):
    """Asks until it says something that is true, LIMIT seconds long; what it said."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {LIMIT} s: {what}")


def answers(url, data=None):
    """What is answered there, or nothing while nobody does."""
    try:
        return fetch(url, data)
    except (urllib.error.URLError, OSError):
        return None


def start_registry():
    """Debian's registry for images, on loopback; its host, and how to end it."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
    with socket.create_server(("127.0.0.1", 0)) as found:
        host = f"127.0.0.1:{found.getsockname()[1]}"
    settings = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "http": {"addr": host},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    process = subprocess.Popen(
        ["docker-registry", "serve", folder / "config.yml"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def end():
        process.terminate()
        process.wait(LIMIT)
        shutil.rmtree(folder)

    atexit.register(end)
    wait_until(lambda: answers(f"http://{host}/v2/") is not None, "the registry answers")
    return host


class Cloud:
    """What all tests have in common: started by the first that needs it."""

    def __init__(self):
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        atexit.register(self.server.stop)
        self.url = "http://{}:{}".format(*self.server.get_host_and_port())
        self.registry = start_registry()

    @staticmethod
    def backend(service):
        """What moto was told."""
        where = "aws" if service == "iam" else REGION
        return get_backend(service)[ACCOUNT][where]


class Case(unittest.TestCase):
    """What every test may use. All of it is gone after the test."""

    maxDiff = None
    _cloud = None

    @property
    def cloud(self):
        if Case._cloud is None:
            Case._cloud = Cloud()
        return Case._cloud

    def folder(self, files=None):
        """A temporary folder with these files: their texts by their names."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
        self.addCleanup(shutil.rmtree, folder)
        for name, text in (files or {}).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if text.startswith("#!"):
                path.chmod(0o755)
        # Whoever the function runs as has to reach its files.
        folder.chmod(0o755)
        return folder

    def environment(self, **more):
        """That of a user with an account, programs, and no settings."""
        home = self.folder({"aws": "[default]\ncli_history = enabled\n"})
        self.history = home / "history.db"
        return {
            **os.environ,
            "PATH": f"{PROGRAMS}:{TOOLS}:{os.environ['PATH']}",
            "HOME": str(home),
            "DOCKER_CONFIG": str(home),
            "AWS_CONFIG_FILE": str(home / "aws"),
            "AWS_CLI_HISTORY_FILE": str(self.history),
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.cloud.url,
            "REGISTRY": self.cloud.registry,
            "SAM_CLI_TELEMETRY": "0",
            **more,
        }

    def calls(self):
        """What the AWS CLI asked of AWS in the last environment: service, operation, parameters."""
        with sqlite3.connect(self.history) as history:
            found = history.execute(
                "select payload from records where event_type = 'API_CALL' order by timestamp"
            )
            calls = [json.loads(payload) for (payload,) in found]
        history.close()
        return [(call["service"], call["operation"], call["params"]) for call in calls]

    def docker(self, *words):
        return run(["docker", *words]).strip()

    def forget_image(self, name):
        """Removes an image after the test, if it is there then."""

        def forget():
            shape = "{{.Repository}} {{.Tag}} {{.Digest}}"
            for line in run(["docker", "image", "ls", "--digests", "--format", shape, name]).splitlines():
                repository, tag, digest = line.split(" ")
                named = f"@{digest}" if tag == "<none>" else f":{tag}"
                self.docker("image", "rm", "-f", repository + named)

        self.addCleanup(forget)

    def container(self, *words):
        """A container in the background, whose port 8080 is at the address that comes back."""
        container = self.docker("run", "-d", "-p", "127.0.0.1::8080", *words)
        self.addCleanup(self.docker, "rm", "-f", container)
        return self.docker("port", container, "8080/tcp").splitlines()[0]

    def invoke(self, address, event):
        """What a function answers at an address, once it does."""
        url = f"http://{address}/2015-03-31/functions/function/invocations"
        # Docker accepts connections before the emulator listens, and ends them.
        return wait_until(lambda: answers(url, event.encode()), f"{url} answers").decode()
