"""`aws s3` on a server that fails in all ways: it tries again, or reports it, and nothing is half there."""

import hashlib
import http.server
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from cloud import LIMIT, environment

MIB = 1024 * 1024
BODY = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(20 * MIB // 32))
SMALL = BODY[:100_000]
# For failures that last.
FEW_ATTEMPTS = {"AWS_MAX_ATTEMPTS": "2"}


class Server(http.server.ThreadingHTTPServer):
    """Holds one object, and keeps what is uploaded. `faults` sees each request first, and may answer it itself."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, body, faults):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.faults = body, faults
        self.tag = '"one"'
        self.lock = threading.Lock()
        self.requests = []
        self.objects, self.parts, self.aborted = {}, {}, 0

    def handle_error(self, request, client_address):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", headers=(), length=None):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.reply(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

    def reset(self):
        """Ends the connection as a crash does."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def part(self):
        """What the request is for: the status, the bytes, and the header for a range."""
        body = self.server.body
        if not (wanted := self.headers.get("Range")):
            return 200, body, []
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted).groups()
        first, last = int(first), min(int(last or len(body)), len(body) - 1)
        return 206, body[first:last + 1], [("Content-Range", f"bytes {first}-{last}/{len(body)}")]

    def about(self):
        return [("ETag", self.server.tag), ("Last-Modified", "Sun, 29 Nov 2026 22:01:28 GMT")]

    def answer(self):
        length = int(self.headers.get("Content-Length", 0))
        self.given = self.rfile.read(length)
        if len(self.given) < length:
            return
        with self.server.lock:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.server.requests.append((self.command, self.path, headers))
            number = len(self.server.requests)
        if self.server.faults(self, number):
            return
        if self.command in ("GET", "HEAD"):
            if self.headers.get("If-Match", self.server.tag) != self.server.tag:
                self.refuse(412, "PreconditionFailed")
                return
            status, body, headers = self.part()
            self.reply(status, body, [*headers, *self.about()])
        elif "uploads" in self.path:
            self.reply(200, b"<R><UploadId>id</UploadId></R>")
        elif match := re.search(r"partNumber=(\d+)", self.path):
            with self.server.lock:
                self.server.parts[int(match[1])] = self.given
            self.reply(200, headers=[("ETag", f'"{match[1]}"')])
        elif self.command == "POST":
            self.server.objects[self.path.split("?")[0]] = b"".join(part for _, part in sorted(self.server.parts.items()))
            self.reply(200, b"<R><ETag>x</ETag></R>")
        elif self.command == "DELETE":
            self.server.aborted += "uploadId" in self.path
            self.reply(204)
        else:
            self.server.objects[self.path] = self.given
            self.reply(200, headers=self.about())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer


def at_first(times, action):
    """Faults of the first requests alone."""

    def faults(handler, number):
        if number > times:
            return False
        action(handler)
        return True

    return faults


def never(_handler, _number):
    return False


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def _serve(self, faults=never, body=SMALL):
        server = Server(body, faults)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def _run(self, server, *words, given=None, **options):
        url = f"http://127.0.0.1:{server.server_address[1]}"
        command = [os.environ["TOOLS_PROGRAM"], "run", "aws", "--endpoint-url", url, "s3", *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, timeout=LIMIT, env=environment(self.folder, given or {}), **options)
        self.assertNotIn(b"panicked", done.stderr)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def _names(self):
        return sorted(path.name for path in self.folder.iterdir())


class Downloads(Case):
    def _download(self, server, **options):
        return self._run(server, "cp", "s3://bucket/key", "file", **options)

    def _assert_whole(self, server, **options):
        self.assertEqual(self._download(server, **options), (0, "download: s3://bucket/key to ./file\n", ""))
        self.assertTrue((self.folder / "file").read_bytes() == server.body)
        self.assertEqual(self._names(), ["file"])

    def _assert_failed(self, server, words):
        (self.folder / "file").write_bytes(b"before")
        status, output, errors = self._download(server, given=FEW_ATTEMPTS)
        self.assertEqual((status, output), (1, ""))
        self.assertIn(words, errors)
        self.assertEqual(self._names(), ["file"])
        self.assertEqual((self.folder / "file").read_bytes(), b"before")

    def failures_of_the_server_are_tried_again(self):
        failures = {1: (500, "InternalError"), 2: (503, "SlowDown")}

        def fail(handler, number):
            if number not in failures:
                return False
            handler.refuse(*failures[number])
            return True

        server = self._serve(fail)
        self._assert_whole(server)
        self.assertEqual(len(server.requests), 3)

    def failures_that_last_are_reported(self):
        self._assert_failed(self._serve(at_first(99, lambda handler: handler.refuse(503, "SlowDown"))), "fatal error: An error occurred (503)")

    def refusals_are_not_tried_again(self):
        server = self._serve(at_first(99, lambda handler: handler.refuse(403, "AccessDenied")))
        self._assert_failed(server, "fatal error: An error occurred (403) when calling the HeadObject operation: Forbidden")
        self.assertEqual(len(server.requests), 1)

    def redirects_are_followed(self):
        other = self._serve()
        url = f"http://127.0.0.1:{other.server_address[1]}/bucket/key"
        self._assert_whole(self._serve(at_first(99, lambda handler: handler.reply(307, headers=[("Location", url)]))))
        self.assertEqual(len(other.requests), 1)

    def resets_are_tried_again(self):
        self._assert_whole(self._serve(at_first(2, Handler.reset)))

    def cut_bodies_go_on_where_they_ended(self):
        for end in (lambda handler: setattr(handler, "close_connection", True), Handler.reset):
            for body in (SMALL, BODY):
                with self.subTest(f"{end} {len(body)}"):
                    def cut(handler, number):
                        if number not in (1, 2, 5):
                            return False
                        status, part, headers = handler.part()
                        handler.reply(status, part[:len(part) // 2], [*headers, *handler.about()], length=len(part))
                        end(handler)
                        return True

                    server = self._serve(cut, body)
                    self._assert_whole(server)
                    matches = [headers.get("if-match") for _, _, headers in server.requests]
                    self.assertIn('"one"', matches)
                    (self.folder / "file").unlink()

    def bodies_that_are_always_cut_are_reported(self):
        def cut(handler, _number):
            status, part, headers = handler.part()
            handler.reply(status, part[:10], [*headers, *handler.about()], length=len(part))
            handler.close_connection = True
            return True

        server = self._serve(cut)
        self._assert_failed(server, "download failed: s3://bucket/key to ./file Connection broken")
        self.assertLess(len(server.requests), 10)

    def versions_are_not_mixed(self):
        def replace(handler, number):
            if number == 2:
                handler.server.tag = '"two"'
                handler.server.body = bytes(len(BODY))
            return False

        self._assert_failed(self._serve(replace, BODY), "did not match expected ETag")

    def other_ranges_than_the_wanted_ones_are_refused(self):
        def shift(handler, _number):
            if handler.headers.get("Range") == "bytes=0-8388607":
                return False
            status, part, _ = handler.part()
            handler.reply(status, part, [("Content-Range", f"bytes 0-9/{len(BODY)}"), *handler.about()])
            return True

        self._assert_failed(self._serve(shift, BODY), "another part of the object")

    def servers_without_ranges_suffice(self):
        def whole(handler, _number):
            handler.reply(200, handler.server.body, handler.about())
            return True

        self._assert_whole(self._serve(whole, BODY))

    def slow_bytes_arrive(self):
        def slow(handler, _number):
            _, part, headers = handler.part()
            handler.reply(206, b"", [*headers, *handler.about()], length=len(part))
            for at in range(0, len(part), 20_000):
                handler.wfile.write(part[at:at + 20_000])
                handler.wfile.flush()
                time.sleep(0.05)
            return True

        self._assert_whole(self._serve(slow))

    def nothing_is_left_of_a_download_that_is_killed(self):
        has_begun, released = threading.Event(), threading.Event()
        self.addCleanup(released.set)

        def stall(handler, _number):
            if handler.command != "GET":
                return False
            handler.reply(200, SMALL[:5000], [("ETag", '"one"')], length=len(SMALL))
            has_begun.set()
            released.wait(LIMIT)
            return True

        server = self._serve(stall)
        url = f"http://127.0.0.1:{server.server_address[1]}"
        command = [os.environ["TOOLS_PROGRAM"], "run", "aws", "--endpoint-url", url, "s3", "cp", "s3://bucket/key", "file"]
        running = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, env=environment(self.folder, {}))
        self.assertTrue(has_begun.wait(LIMIT))
        until = time.monotonic() + LIMIT
        written = lambda: any(os.stat(f"/proc/{running.pid}/fd/{number}").st_size == 5000 for number in os.listdir(f"/proc/{running.pid}/fd"))
        while not written() and time.monotonic() < until:
            time.sleep(0.01)
        running.kill()
        running.wait()
        self.assertEqual(self._names(), [])

    def servers_that_hang_are_left(self):
        released = threading.Event()
        self.addCleanup(released.set)

        def hang(handler, number):
            if number > 1:
                return False
            status, part, headers = handler.part()
            handler.reply(status, part[:1000], [*headers, *handler.about()], length=len(part))
            handler.wfile.flush()
            released.wait(LIMIT)
            return True

        server = self._serve(hang)
        status, output, errors = self._run(server, "cp", "s3://bucket/key", "file", "--cli-read-timeout", "1")
        self.assertEqual((status, output, errors), (0, "download: s3://bucket/key to ./file\n", ""))
        self.assertTrue((self.folder / "file").read_bytes() == SMALL)

    def answers_that_are_no_http_are_reported(self):
        def nonsense(handler, _number):
            handler.wfile.write(b"nonsense\r\n\r\n")
            handler.close_connection = True
            return True

        self._assert_failed(self._serve(nonsense), "fatal error: ")

    def devices_that_are_full_are_reported(self):
        for body in (SMALL, BODY):
            status, output, errors = self._run(self._serve(body=body), "cp", "s3://bucket/key", "/dev/full")
            self.assertEqual((status, output), (1, ""))
            self.assertIn("[Errno 28] No space left on device", errors)

    def memory_stays_small(self):
        server = self._serve(body=BODY * 5)
        url = f"http://127.0.0.1:{server.server_address[1]}"
        program = [os.environ["TOOLS_PROGRAM"], "run", "aws", "--endpoint-url", url, "s3", "cp"]
        # A process of its own: what a child of this one uses begins with what this one has.
        measure = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
                   "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
        for words in (["s3://bucket/key", "file"], ["file", "s3://bucket/new"], ["-", "s3://bucket/new"]):
            with self.subTest(words), open(self.folder / "file", "a+b") as file:
                source = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
                done = subprocess.run([sys.executable, "-S", "-c", measure, *program, *words], cwd=self.folder, stdin=source.stdout,
                                      stdout=subprocess.PIPE, env=environment(self.folder, {}), timeout=LIMIT, check=True)
                source.stdout.close()
                source.wait(LIMIT)
                self.assertLess(int(done.stdout), 24 * 1024)


class Uploads(Case):
    def setUp(self):
        super().setUp()
        (self.folder / "small").write_bytes(SMALL)
        (self.folder / "large").write_bytes(BODY)

    def _upload(self, server, name, **options):
        return self._run(server, "cp", name, "s3://bucket/key", **options)

    def failures_are_tried_again(self):
        faults = {
            1: lambda handler: handler.refuse(500, "InternalError"),
            3: Handler.reset,
            6: lambda handler: handler.refuse(503, "SlowDown"),
        }

        def some(handler, number):
            if number not in faults:
                return False
            faults[number](handler)
            return True

        for name, body in (("small", SMALL), ("large", BODY)):
            with self.subTest(name):
                server = self._serve(some)
                self.assertEqual(self._upload(server, name), (0, f"upload: ./{name} to s3://bucket/key\n", ""))
                self.assertTrue(server.objects == {"/bucket/key": body})
                self.assertEqual(server.aborted, 0)

    def failed_uploads_leave_nothing(self):
        for step in ("partNumber=2", "POST"):
            with self.subTest(step):
                def fail(handler, _number):
                    is_complete = handler.command == "POST" and "uploadId" in handler.path
                    if not (is_complete if step == "POST" else step in handler.path):
                        return False
                    handler.refuse(400, "BadDigest")
                    return True

                server = self._serve(fail)
                status, output, errors = self._upload(server, "large")
                self.assertEqual((status, output), (1, ""))
                self.assertIn("upload failed: ./large to s3://bucket/key An error occurred (BadDigest)", errors)
                self.assertEqual((server.objects, server.aborted), ({}, 1))

    def streams_that_fail_leave_nothing(self):
        def fail(handler, _number):
            if "partNumber=2" not in handler.path:
                return False
            handler.refuse(403, "AccessDenied")
            return True

        server = self._serve(fail)
        status, output, errors = self._run(server, "cp", "-", "s3://bucket/key", input=BODY)
        self.assertEqual((status, output), (1, ""))
        self.assertIn("upload failed: - to s3://bucket/key An error occurred (AccessDenied) when calling the UploadPart operation", errors)
        self.assertEqual((server.objects, server.aborted), ({}, 1))

    def errors_with_status_200_are_errors(self):
        def late(handler, number):
            if handler.command != "POST" or "uploadId" not in handler.path:
                return False
            handler.reply(200, b"<Error><Code>InternalError</Code><Message>late</Message></Error>")
            return True

        server = self._serve(late)
        status, _, errors = self._upload(server, "large")
        self.assertEqual(status, 1)
        self.assertIn("(InternalError) when calling the CompleteMultipartUpload operation", errors)
        self.assertEqual((server.objects, server.aborted), ({}, 1))

    def moved_files_stay_until_they_are_uploaded(self):
        server = self._serve(at_first(99, lambda handler: handler.refuse(403, "AccessDenied")))
        self.assertEqual(self._run(server, "mv", "small", "s3://bucket/key")[0], 1)
        self.assertEqual(self._names(), ["large", "small"])
        self.assertEqual(self._run(self._serve(), "mv", "small", "s3://bucket/key")[0], 0)
        self.assertEqual(self._names(), ["large"])

    def servers_that_are_not_there_are_reported(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = self._serve()
        server.server_address = ("127.0.0.1", port)
        status, output, errors = self._upload(server, "small", given=FEW_ATTEMPTS)
        self.assertEqual((status, output), (1, ""))
        self.assertIn("upload failed: ./small to s3://bucket/key Could not connect to the endpoint URL", errors)

    def a_folder_that_was_removed_has_no_files(self):
        server = self._serve()
        gone = self.folder / "gone"

        def run(*arguments):
            gone.mkdir()
            script = 'rmdir "$PWD" && exec "$@"'
            command = ["sh", "-c", script, "sh", os.environ["TOOLS_PROGRAM"], "run", *arguments]
            url = f"http://127.0.0.1:{server.server_address[1]}"
            return subprocess.run(command, cwd=gone, capture_output=True, text=True, errors="replace", timeout=LIMIT,
                                  env=environment(self.folder, {"AWS_ENDPOINT_URL": url}))

        url = f"http://127.0.0.1:{server.server_address[1]}/bucket/key"
        for arguments in (
            ("aws", "s3", "cp", "s3://bucket/key", "x"),
            ("aws", "s3", "cp", "s3://bucket/key", "."),
            ("aws", "s3", "cp", "s3://bucket/key", "below/x"),
            ("aws", "s3", "cp", "--recursive", "s3://bucket/", "x"),
            ("aws", "s3", "sync", "s3://bucket/", "."),
            ("aws", "s3", "cp", "x", "s3://bucket/key"),
            ("aws", "s3api", "get-object", "--bucket", "bucket", "--key", "key", "x"),
            ("aws", "s3api", "put-object", "--bucket", "bucket", "--key", "key", "--body", "x"),
            ("aws", "lambda", "update-function-code", "--function-name", "f", "--zip-file", "fileb://x"),
            ("fetch", "-sS", "-o", "x", url),
            ("fetch", "-sS", "--create-dirs", "-o", "below/x", url),
            ("fetch", "-sS", "-O", url),
            ("jq", "-n", "--slurpfile", "x", "x", "$x"),
            ("jq", ".", "x"),
        ):
            with self.subTest(arguments=arguments):
                done = run(*arguments)
                self.assertNotEqual(done.returncode, 0)
                self.assertNotEqual(done.stderr, "")
                self.assertEqual(self._names(), ["large", "small"])
        self.assertEqual(server.objects, {})
        # Files with a path are there all the same.
        target = str(self.folder / "target")
        self.assertEqual(run("aws", "s3", "cp", "s3://bucket/key", target).returncode, 0)
        self.assertEqual(self._names(), ["large", "small", "target"])
        self.assertEqual(run("aws", "s3", "cp", target, "s3://bucket/other").returncode, 0)
        self.assertEqual(run("aws", "s3", "cp", "s3://bucket/key", "-").returncode, 0)
