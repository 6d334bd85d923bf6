"""A fake AWS: moto on the loopback interface and an image registry. Also the base class of the tests.

moto stores what it gets, and runs nothing: the tests themselves run what was published.
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

# Set before moto reads it. With it AWS's managed policies exist, to be attached to roles.
os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"

from moto.backends import get_backend
from moto.server import ThreadedMotoServer

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples" / "deploy"
# The folder with coshell and bootstrap, both static.
PROGRAMS = pathlib.Path(os.environ["PROGRAMS"]).resolve()
TOOLS = pathlib.Path(sys.executable).parent
# The base image of the handlers. On a machine that cannot pull images it is a stand-in of that name.
BASE = "public.ecr.aws/lambda/provided:al2023"
ACCOUNT = "123456789012"
REGION = "eu-north-1"
# How long a test waits, in seconds. Far longer than anything takes on a busy machine.
LIMIT = 60
# The beginning of the names of all images, containers and folders that the tests make.
PREFIX = "coshell-deploy-"
# moto's server logs every call.
logging.getLogger("werkzeug").setLevel(logging.ERROR)


def run(command, **options):
    """Runs a command that must succeed. Returns its output."""
    options = {"input": "", "timeout": 5 * LIMIT, "text": True, **options}
    ended = subprocess.run(command, capture_output=True, **options)
    result = f"{command}: status {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    assert ended.returncode == 0, result
    return ended.stdout


def fetch(url, data=None, headers=None):
    """The body of a reply."""
    request = urllib.request.Request(url, data=data, headers=headers or {})
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:
        return answer.read()


def wait_until(condition, description):
    """Calls `condition` until it returns something true, at most LIMIT seconds long. Returns that."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError(f"not within {LIMIT} s: {description}")


def try_fetch(url, data=None):
    """The body of a reply, or None while nothing listens there."""
    try:
        return fetch(url, data)
    except (urllib.error.URLError, OSError):
        return None


def start_registry():
    """Starts Debian's image registry on the loopback interface. Returns its host and port."""
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
    wait_until(lambda: try_fetch(f"http://{host}/v2/") is not None, "the registry replies")
    return host


class Cloud:
    """The fake AWS that all tests share. The first test that needs it starts it."""

    def __init__(self):
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        atexit.register(self.server.stop)
        self.url = "http://{}:{}".format(*self.server.get_host_and_port())
        self.registry = start_registry()

    @staticmethod
    def backend(service):
        """moto's data about a service."""
        where = "aws" if service == "iam" else REGION
        return get_backend(service)[ACCOUNT][where]


class Case(unittest.TestCase):
    """What every test may use. Everything is removed after the test."""

    maxDiff = None
    _cloud = None

    @property
    def cloud(self):
        if Case._cloud is None:
            Case._cloud = Cloud()
        return Case._cloud

    def folder(self, files=None):
        """A temporary folder with these files: a dictionary from names to texts."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
        self.addCleanup(shutil.rmtree, folder)
        for name, text in (files or {}).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if text.startswith("#!"):
                path.chmod(0o755)
        # The user that runs the function must be able to reach its files.
        folder.chmod(0o755)
        return folder

    def environment(self, **more):
        """The environment of a user with an account and programs, and without other settings."""
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
        """The calls of the AWS CLI in the last environment: service, operation, parameters."""
        with sqlite3.connect(self.history) as history:
            found = history.execute(
                "select payload from records where event_type = 'API_CALL' order by timestamp"
            )
            calls = [json.loads(payload) for (payload,) in found]
        history.close()
        return [(call["service"], call["operation"], call["params"]) for call in calls]

    def docker(self, *arguments):
        return run(["docker", *arguments]).strip()

    def forget_image(self, name):
        """Removes an image after the test, if it exists then."""

        def forget():
            shape = "{{.Repository}} {{.Tag}} {{.Digest}}"
            for line in run(["docker", "image", "ls", "--digests", "--format", shape, name]).splitlines():
                repository, tag, digest = line.split(" ")
                suffix = f"@{digest}" if tag == "<none>" else f":{tag}"
                self.docker("image", "rm", "-f", repository + suffix)

        self.addCleanup(forget)

    def container(self, *arguments):
        """Starts a container in the background. Returns the address of its port 8080."""
        container = self.docker("run", "-d", "-p", "127.0.0.1::8080", *arguments)
        self.addCleanup(self.docker, "rm", "-f", container)
        return self.docker("port", container, "8080/tcp").splitlines()[0]

    def invoke(self, address, event):
        """Invokes a function at an address, once it replies. Returns the response."""
        url = f"http://{address}/2015-03-31/functions/function/invocations"
        # Docker accepts connections before the emulator listens, and closes them.
        return wait_until(lambda: try_fetch(url, event.encode()), f"{url} replies").decode()
