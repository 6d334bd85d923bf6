"""lambda_fetch beside curl: the same command lines, against a server with prepared answers."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from scripted import Scripted, answer

OURS = [os.environ["TOOLS_PROGRAM"], "run", "fetch"]
THEIRS = ["curl", "-q"]
# What each program says of itself.
OWN = {"user-agent", "connection", "expect", "proxy-connection"}
OK = answer(body=b"ok")


def to(location, status="302 Found"):
    """An answer that leads to `location`."""
    return answer(status, b"elsewhere", Location=location)


class Case(unittest.TestCase):
    """A server with prepared answers."""

    @classmethod
    def setUpClass(cls):
        cls.server = Scripted()
        cls.folder = tempfile.TemporaryDirectory()
        root = pathlib.Path(cls.folder.name)
        (root / "a.json").write_text('{"a": 1}')
        (root / "format").write_text("%{http_code}\\n")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    def run_one(self, command, script, arguments, environment):
        """What the program did, its requests, the files that it wrote, and the number of connections."""
        self.server.start(script)
        variables = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        with tempfile.TemporaryDirectory() as out:
            places = {"URL": f"http://127.0.0.1:{self.server.port}", "PORT": str(self.server.port), "OUT": out}
            fill = lambda word: re.sub("URL|PORT|OUT", lambda found: places[found[0]], word)
            done = subprocess.run(
                [*command, "-sS", *map(fill, arguments)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=self.folder.name,
                timeout=20,
                env=variables | {name: fill(value) for name, value in environment.items()},
            )
            files = {path.name: normal(path.read_bytes()) for path in pathlib.Path(out).iterdir()}
        requests = [
            (line, sorted((name, value) for name, value in headers if name not in OWN and (name, value) != ("content-length", "0")), body)
            for line, headers, body in self.server.requests
        ]
        return done, requests, files, self.server.connections

    def compare(self, script, *arguments, **environment):
        """Runs curl and lambda_fetch. The answers of `script` come over one connection each, unless they are lists."""
        script = [entry if isinstance(entry, list) else [entry] for entry in script]
        theirs, *did_theirs = self.run_one(THEIRS, script, arguments, environment)
        ours, *did_ours = self.run_one(OURS, script, arguments, environment)
        context = (arguments, ours.stderr, theirs.stderr)
        self.assertEqual(ours.returncode, theirs.returncode, context)
        self.assertEqual(normal(ours.stdout), normal(theirs.stdout), context)
        self.assertEqual(without_case(did_ours), without_case(did_theirs), context)
        self.assertEqual(bool(ours.stderr), bool(theirs.stderr) and theirs.returncode != 0, context)

    def compare_all(self, cases):
        for script, *arguments in cases:
            with self.subTest(script=script, arguments=arguments):
                self.compare(script, *arguments)


def normal(text):
    """Heads with names in small letters, and without the reason of the status."""
    text = re.sub(rb"(?m)^(HTTP/1\.1 \d+)[^\r\n]*", rb"\1", text)
    # curl writes what it encodes in a URL in small letters.
    return re.sub(rb"(?m)^([A-Za-z-]+):|%[0-9A-F]{2}", lambda found: found[0].lower(), text)


def without_case(did):
    requests, *rest = did
    return [(line.lower(), *more) for line, *more in requests], *rest


class Redirects(Case):
    def locations_are_followed_as_curl_follows_them(self):
        for location in [
            "/login?next=https://app.example/",
            "",
            "/x#fragment",
            "//127.0.0.1:PORT/y",
            "HTTP:/127.0.0.1:PORT/z",
            "/\xc3\xa4?\xc3\xb6 b",
            "/../../x/./y",
            "?z",
            "c/d:e",
            "../c",
            "/a\tb",
            "file:///etc/passwd",
            "gopher://x/",
            "foo:bar",
            "http:c",
            "http://127.0.0.1:99999/",
        ]:
            for status in ("302 Found", "300 Choose"):
                with self.subTest(location=location, status=status):
                    script = [to(location, status).decode().encode("latin1"), OK]
                    self.compare(script, "-L", "-o", "OUT/body", "URL/a/b?q")
            with self.subTest(location=location):
                self.compare([script[0]], "-o", "OUT/body", "-w", "%{redirect_url}", "URL/a/b?q")

    def a_location_that_is_only_a_fragment_leads_nowhere(self):
        done, requests, *_ = self.run_one(OURS, [[to("#x")]], ["-L", "URL/"], {})
        self.assertEqual((done.returncode, done.stdout, len(requests)), (0, b"elsewhere", 1))

    def methods_and_headers_change_as_in_curl(self):
        self.compare_all(
            ([to(location, status), OK], "-L", "-w", "%{method}", *words, "URL/a")
            for words in (
                [],
                ["-d", "x"],
                ["-X", "DELETE", "-d", "x"],
                ["-X", "POST"],
                ["-T", "a.json"],
                ["-u", "a:b"],
                ["-H", "Host: own", "-H", "Cookie: a=b"],
            )
            for status in ("301 Moved", "303 See", "307 Again")
            for location in ("/b", "http://localhost:PORT/b", "http://u:p%40w@127.0.0.1:PORT/", "http://u:pw@localhost:PORT/b")
        )


class Urls(Case):
    def wrong_urls_have_the_status_of_curl(self):
        self.compare_all(
            ([OK], url, *words)
            for words in ([], ["-d", "x"])
            for url in (
                "http://127.0.0.1:99999/x",
                "http://127.0.0.1:65536/x",
                "http://127.0.0.1:1x/",
                "http://127.0.0.1:0/x",
                "http://",
                "http:////127.0.0.1:PORT/",
                "http:/127.0.0.1:PORT/",
                "http://u:PW@127.0.0.1:99999/",
                "HTTP://127.0.0.1:PORT/",
                "127.0.0.1:PORT",
                "127.0.0.1:PORT?a=b",
                "http://u:p@127.0.0.1:PORT/",
                "http://u@127.0.0.1:PORT/",
                "Http://exa%6dple.invalid/",
                "ftp2://u:PW@h/",
                "URL/%2e/x",
                "http://ex ample/",
            )
        )

    def no_error_has_the_password_of_a_url(self):
        for script, *words in (
            ([OK], "HTTP://u:SECRET@127.0.0.1:1/"),
            ([OK], "ftp://u:SECRET@h/"),
            ([OK], "http://u:SECRET@127.0.0.1:99999/"),
            ([OK], "http://u:SECRET@h h/"),
            ([to("http://u:SECRET@127.0.0.1:1/")], "-L", "URL/"),
            ([to("ftp://u:SECRET@127.0.0.1:1/")], "-L", "URL/"),
            ([to("http://u:SECRET@127.0.0.1:PORT/"), OK], "-L", "URL/"),
        ):
            with self.subTest(words=words):
                done, *_ = self.run_one(OURS, [[one] for one in script], [*words, "-w", "%{url_effective} %{errormsg}"], {})
                self.assertNotIn(b"SECRET", done.stderr + done.stdout)
