"""The Runtime API for one bootstrap, as far as the cases beside this file need it; and figures of its processes, from /proc."""
import os
import re
import socket
import subprocess
import tempfile
import time

ACCEPTED = b'HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{"status":"OK"}\n'
REGISTERED = b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: 1\r\nContent-Length: 2\r\n\r\n{}"


class Bootstrap:
    """One bootstrap with its own task root and TMPDIR. It is ready when the bootstrap waits in its first `next`."""

    def __init__(self, program, handler, files, **settings):
        self.root, self.scratch = tempfile.TemporaryDirectory(), tempfile.TemporaryDirectory()
        for name, content in files.items():
            path = os.path.join(self.root.name, name)
            with open(path, "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())
            os.chmod(path, 0o755)
        self.listener = socket.create_server(("127.0.0.1", 0))
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TMPDIR": self.scratch.name,
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:%d" % self.listener.getsockname()[1],
            "LAMBDA_TASK_ROOT": self.root.name, "_HANDLER": handler, **settings,
        }
        command = program if isinstance(program, list) else [program]
        self.process = subprocess.Popen(command, env=environment, cwd=self.root.name, stderr=subprocess.DEVNULL)
        self.accept()
        self.number = 0
        self.request()

    def accept(self):
        self.connection, _ = self.listener.accept()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.connection.makefile("rb")

    def request(self):
        """Waits for the next request, on a new connection if this one was closed; returns its path and its body."""
        line = self.stream.readline()
        if not line:
            self.accept()
            return self.request()
        length = 0
        while (header := self.stream.readline().strip().lower()) != b"":
            if header.startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        return line.split()[1].decode(), self.stream.read(length)

    def invoke(self, event, deadline_ms=9_999_999_999_999):
        """Sends an event with the headers of Lambda. Returns: is the answer a response, the body, seconds to the answer, seconds from there to `next`."""
        self.number += 1
        event = event if isinstance(event, bytes) else event.encode()
        head = ("HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: %d\r\nLambda-Runtime-Deadline-Ms: %d\r\n"
                "Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2%04x;Parent=9a9197af755a6419;Sampled=0\r\n"
                "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-west-1:123456789012:function:f\r\n"
                "Content-Length: %d\r\n\r\n" % (self.number, deadline_ms, self.number % 65536, len(event)))
        begun = time.perf_counter()
        self.connection.sendall(head.encode() + event)
        path, body = self.request()
        answered = time.perf_counter()
        self.connection.sendall(ACCEPTED)
        # The tutorial's curl opens a connection for each request, and closes it.
        self.request()
        return path.endswith("/response"), body, answered - begun, time.perf_counter() - answered

    def end(self):
        self.process.terminate()
        self.process.wait()

    def processes(self):
        """The pids of the bootstrap and of its descendants, zombies included."""
        children = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                stat = open("/proc/%s/stat" % name).read()
            except OSError:
                continue
            children.setdefault(int(stat.rsplit(") ")[1].split()[1]), []).append(int(name))
        found, todo = [], [self.process.pid]
        while todo:
            found.append(todo.pop())
            todo += children.get(found[-1], [])
        return found

    def figures(self):
        pids = self.processes()
        pss = descriptors = 0
        for pid in pids:
            descriptors += len(os.listdir("/proc/%d/fd" % pid))
            smaps = open("/proc/%d/smaps_rollup" % pid).read()
            pss += int(re.search(r"^Pss:\s+(\d+)", smaps, re.M)[1])
        return {
            "processes": len(pids), "threads": len(os.listdir("/proc/%d/task" % self.process.pid)),
            "descriptors": descriptors, "PSS KiB": pss, "files": len(os.listdir(self.scratch.name)),
        }


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
