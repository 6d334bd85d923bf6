"""lambda_fetch beside curl: the same command lines, against a server that remembers its requests."""

import os
import pathlib
import random
import re
import subprocess
import tempfile
import unittest

from server import Server

OURS = [os.environ["TOOLS_PROGRAM"], "run", "fetch"]
THEIRS = ["curl", "-q"]
# What each program says of itself, and what depends on the connection.
OWN = {"user-agent", "connection", "expect", "host", "accept-encoding"}
OPTIONAL = {("content-length", "0")}


class Case(unittest.TestCase):
    """A server, and a folder with files to send."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.folder = tempfile.TemporaryDirectory()
        root = pathlib.Path(cls.folder.name)
        (root / "lines").write_bytes(b"one\ntwo\r\nthree")
        (root / "large").write_bytes(random.Random(1).randbytes(300_000))
        (root / "a.json").write_text('{"a": 1}')
        (root / "headers").write_text("X-One: 1\nX-Two: 2\n")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    def run_one(self, command, arguments, data=b""):
        """Status, output, what the server saw, and the files that were written."""
        self.server.seen.clear()
        self.server.counts.clear()
        with tempfile.TemporaryDirectory() as out:
            words = [word.replace("OUT", out).replace("URL", self.server.url) for word in arguments]
            done = subprocess.run([*command, *words], input=data, capture_output=True, cwd=self.folder.name, timeout=60)
            done.stdout = done.stdout.replace(out.encode(), b"OUT")
            files = {path.name: path.read_bytes() if path.name != "head" else _normal(path.read_bytes()) for path in pathlib.Path(out).iterdir()}
        seen = [
            (method, path, {name: value for name, value in headers.items() if name not in OWN and (name, value) not in OPTIONAL}, body)
            for method, path, headers, body in self.server.seen
        ]
        return done, seen, files

    def compare(self, *arguments, data=b""):
        theirs, seen_theirs, files_theirs = self.run_one([*THEIRS, "-sS"], arguments, data)
        ours, seen_ours, files_ours = self.run_one([*OURS, "-sS"], arguments, data)
        self.assertEqual(ours.returncode, theirs.returncode, (arguments, ours.stderr, theirs.stderr))
        self.assertEqual(_normal(ours.stdout), _normal(theirs.stdout), (arguments, ours.stderr))
        self.assertEqual(_without_boundaries(seen_ours), _without_boundaries(seen_theirs), arguments)
        self.assertEqual(files_ours, files_theirs, arguments)
        # curl warns of what a retry mends.
        theirs_failed = bool(theirs.stderr) and theirs.returncode != 0
        self.assertEqual(bool(ours.stderr), theirs_failed, (arguments, ours.stderr, theirs.stderr))


def _normal(text):
    # The reason behind the status, and the spelling of names.
    text = re.sub(rb"(?i)date: .*", b"date", text)
    text = re.sub(rb"-{20,}[0-9a-f]+", b"BOUNDARY", text)
    return text.replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 200").replace(b" Not Found", b"").lower()


def _without_boundaries(seen):
    result = []
    for method, path, headers, body in seen:
        kind = headers.get("content-type", "")
        if "boundary=" in kind:
            boundary = kind.split("boundary=")[1].encode()
            headers = {**headers, "content-type": kind.split("boundary=")[0]}
            headers.pop("content-length")
            body = body.replace(boundary, b"BOUNDARY").replace(b"-" * 24 + b"BOUNDARY", b"BOUNDARY")
        # curl writes what it encodes in a URL in small letters.
        result.append((method, path.lower(), headers, body))
    return result


LINES = [
    ["URL/echo"],
    ["URL/echo", "URL/size/5"],
    ["URL/echo?a=b&c=%20d"],
    ["URL/echo#fragment"],
    ["-X", "DELETE", "URL/echo"],
    ["-I", "URL/status/404"],
    ["-d", "a=b", "-d", "c=d", "URL/echo"],
    ["-d", "@lines", "URL/echo"],
    ["--data-binary", "@lines", "URL/echo"],
    ["--data-binary", "@large", "-H", "Content-Type: application/octet-stream", "URL/echo"],
    ["--data-raw", "@lines", "URL/echo"],
    ["--data-urlencode", "a=b c&d/ä", "--data-urlencode", "@lines", "--data-urlencode", "n@a.json", "URL/echo"],
    ["-G", "-d", "a=b", "--data-urlencode", "q=x y", "URL/echo"],
    ["-G", "-d", "a=b", "URL/echo?z=1"],
    ["--json", '{"a": 1}', "URL/echo"],
    ["--json", "@a.json", "-H", "Accept: text/plain", "URL/echo"],
    # All data is JSON if a part of it is.
    ["-d", "a=b", "--json", "{}", "URL/echo"],
    ["--json", "{}", "-d", "a=b", "URL/echo"],
    ["-G", "--json", "x", "URL/echo"],
    # -G is about data, and not about a form or a file.
    ["-G", "-F", "a=b", "URL/echo"],
    ["-G", "-T", "lines", "URL/echo"],
    ["-T", "large", "URL/echo"],
    ["-X", "POST", "URL/echo"],
    ["-X", "PATCH", "-d", "x", "URL/echo"],
    ["-H", "X-A: 1", "-H", "X-Empty;", "-H", "Accept:", "-H", "X-B:   spaces  ", "URL/echo"],
    ["-H", "@headers", "URL/echo"],
    ["-A", "me/1", "-e", "http://from/", "URL/echo"],
    ["-b", "a=b; c=d", "URL/echo"],
    ["-u", "name:secret word", "URL/echo"],
    ["-F", "a=b", "-F", "file=@a.json", "-F", "text=<lines", "URL/echo"],
    ["-F", "f=@lines;type=text/x;filename=other name", "-F", "j={};type=application/json", "--form-string", "s=@x;y=<z", "URL/echo"],
    ["-F", "f=@large", "URL/echo"],
    # The caller's type gets the boundary.
    ["-F", "a=b", "-H", "Content-Type: multipart/form-data", "URL/echo"],
    ["-F", "a=b", "-H", "content-type:  Multipart/Form-Data; x=y", "URL/echo"],
    ["-F", "a=b", "-F", "file=@a.json", "-H", "Content-Type: multipart/mixed", "URL/echo"],
    ["-F", "a=b", "-H", "Content-Type: text/plain", "URL/echo"],
    ["-b", "", "URL/echo"],
    ["-I", "-X", "GET", "URL/size/7"],
    ["-O", "URL/"],
    ["-o", "OUT/file", "URL/size/100000"],
    ["-o", "OUT/file", "-w", "%{http_code} %{size_download} %{content_type} %{filename_effective}\\n", "URL/size/7"],
    ["-f", "URL/status/404"],
    ["-f", "-o", "OUT/file", "URL/status/500"],
    ["--fail-with-body", "URL/status/418"],
    ["URL/status/500"],
    ["-w", "%{http_code}|%{method}|%{exitcode}|%header{x-made-by}|%{scheme}|%{http_version}%%\\t\\n", "URL/echo"],
    ["-f", "-w", "%{http_code} %{exitcode} %{errormsg}", "URL/status/403"],
    ["-D", "OUT/head", "-o", "OUT/body", "URL/status/200"],
    ["-L", "URL/redirect/302?to=/echo"],
    ["-L", "-d", "a=b", "URL/redirect/302?to=/echo"],
    ["-L", "-d", "a=b", "URL/redirect/303?to=/echo"],
    ["-L", "-w", "%{http_code} %{url_effective}", "URL/redirect/301?to=/size/3"],
    ["-L", "--max-redirs", "1", "URL/redirect/302?to=/redirect/302?to=/echo"],
    ["-w", "%{redirect_url}", "URL/redirect/302?to=http://x.test/y"],
    ["URL/redirect/302?to=/echo"],
    ["--retry", "3", "--retry-delay", "1", "-f", "URL/flaky/a/1"],
    ["--retry", "1", "--retry-delay", "1", "-f", "URL/flaky/b/5"],
    ["-m", "0.5", "URL/slow"],
    ["URL/cut"],
    ["--compressed", "URL/gzip"],
    ["URL/gzip", "-o", "OUT/gz"],
    ["--no-progress-meter", "-s", "URL/echo"],
    ["ftp2://x/"],
    ["-f", "http://127.0.0.1:1/"],
    ["http://no-such-host.invalid/"],
    ["-O"],
    ["--no-such-option", "URL/echo"],
    ["-o", "OUT/none/file", "URL/echo"],
    ["-o", "OUT/sub/file", "URL/status/404", "-f"],
    ["-T", "missing", "URL/echo"],
    ["URL/echo with blank"],
    ["http://name:pass@127.0.0.1:1/", "-s"],
]


class BesideCurl(Case):
    def command_lines_do_the_same(self):
        for line in LINES:
            with self.subTest(line=line):
                self.compare(*line)

    def standard_input_is_sent(self):
        for line in (["-d", "@-"], ["--data-binary", "@-"], ["--data-urlencode", "x@-"], ["-T", "-"], ["--json", "@-"]):
            # curl ends a text at a NUL.
            data = b"from\nstdin \x01\xff" if line[0] in ("-d", "--data-urlencode") else b"from\nstdin \x00\xff"
            with self.subTest(line=line):
                self.compare(*line, "URL/echo", data=data)

    def random_command_lines_do_the_same(self):
        chance = random.Random(20)
        texts = ["a", "a b", "ä&=", "%41", "{}", '"', "x\ny", "", "@lines", "=", ";", "<"]
        pieces = [
            lambda: ["-d", chance.choice(texts)],
            lambda: ["--data-raw", chance.choice(texts)],
            lambda: ["--data-urlencode", chance.choice(["n=", "", "="]) + chance.choice(texts)],
            lambda: ["-H", f"X-{chance.choice('ABC')}: {chance.choice(texts[:6])}"],
            lambda: ["-X", chance.choice(["PUT", "POST", "DELETE"])],
            lambda: ["-G"],
            lambda: ["-i"],
            lambda: ["-A", chance.choice(texts[:3])],
            lambda: ["-u", chance.choice(["a:b", "ä:c d"])],
            lambda: ["-b", "k=" + chance.choice(texts[:4])],
        ]
        for _ in range(60):
            line = [word for _ in range(chance.randrange(5)) for word in chance.choice(pieces)()]
            # An answer with the date differs from one second to the next.
            line = [word for word in line if word != "-i"]
            with self.subTest(line=line):
                self.compare(*line, "URL/echo?" + chance.choice(["", "q=1", "q=%20"]))
