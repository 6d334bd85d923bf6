"""A stand-in for AWS, moto's server, and both command lines on it."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import boto3

MOTO = pathlib.Path(sys.executable).parent / "moto_server"
REAL = pathlib.Path(__file__).parent / "real-aws"
LIMIT = 60
REGION = "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


class Cloud:
    """A server of its own for each of the two, so that both begin with nothing."""

    def __init__(self, port=0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        # With a fixed seed, sets have the same order in both.
        self.process = subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", str(self.port)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={**os.environ, "PYTHONHASHSEED": "0"})

    def wait(self):
        end = time.monotonic() + LIMIT
        while True:
            try:
                # Functions answer without Docker.
                settings = json.dumps({"lambda": {"use_docker": False}}).encode()
                return urllib.request.urlopen(f"{self.url}/moto-api/config", settings, timeout=5).read()
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def client(self, service):
        """boto3's client of this server."""
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
                            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"])

    def stop(self):
        self.process.kill()
        self.process.wait()


def environment(folder, given):
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "TZ": "UTC", "AWS_PAGER": "", "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": str(folder / "config"), "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
            **KEYS, **given}


class RealCli:
    """Debian's AWS CLI, version 2."""

    def __init__(self, services):
        self.process = subprocess.Popen([REAL, *services], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment(pathlib.Path("/nonexistent"), {}))

    def run(self, arguments, folder, given, text):
        request = {"arguments": arguments, "folder": str(folder), "environment": environment(folder, given), "input": text}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        return answer["status"], answer["output"], answer["errors"]

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(LIMIT)


class OurCli:
    """The command `aws` of coshell-tools."""

    def __init__(self, _services):
        pass

    def run(self, arguments, folder, given, text):
        done = subprocess.run([os.environ["TOOLS_PROGRAM"], "run", "aws", *arguments], cwd=folder, input=text, capture_output=True,
                              text=True, errors="replace", timeout=LIMIT, env=environment(folder, given))
        return done.returncode, done.stdout, done.stderr

    def stop(self):
        pass
