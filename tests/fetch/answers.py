"""lambda_fetch beside curl: the same command lines, against a server with prepared answers."""

import gzip
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
import zlib

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
        (root / 'q"u;o.TXT').write_text("text\n")

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
            done.stdout = done.stdout.replace(out.encode(), b"OUT")
            files = {path.name: normal(path.read_bytes()) for path in pathlib.Path(out).iterdir()}
        return done, [comparable(*request) for request in self.server.requests], files, self.server.connections

    def compare(self, script, *arguments, **environment):
        """Runs curl and lambda_fetch. The answers of `script` come over one connection each, unless they are lists."""
        script = [entry if isinstance(entry, list) else [entry] for entry in script]
        theirs, *did_theirs = self.run_one(THEIRS, script, arguments, environment)
        ours, *did_ours = self.run_one(OURS, script, arguments, environment)
        context = (arguments, ours, theirs)
        self.assertEqual(ours.returncode, theirs.returncode, context)
        self.assertEqual(normal(ours.stdout), normal(theirs.stdout), context)
        self.assertEqual(did_ours, did_theirs, context)
        # curl warns of what a retry mends.
        self.assertTrue(ours.stderr or ours.returncode == 0, context)

    def compare_all(self, cases):
        for script, *arguments in cases:
            with self.subTest(script=script, arguments=arguments):
                self.compare(script, *arguments)


BOUNDARY = re.compile(rb"-{24,}[0-9a-f]+")


def comparable(line, headers, body):
    """A request without what each program chooses for itself."""
    is_form = any("boundary=" in value for _, value in headers)
    length = {"content-length"} if is_form or not body else set()
    headers = sorted((name, BOUNDARY.sub(b"BOUNDARY", value.encode())) for name, value in headers if name not in OWN | length)
    # curl writes what it encodes in a URL in small letters.
    headers = [(name, value.lower() if name == "transfer-encoding" else value) for name, value in headers]
    return line.lower(), headers, BOUNDARY.sub(b"BOUNDARY", body)


def normal(text):
    """Heads with names in small letters, and without the reason of the status."""
    text = re.sub(rb"(?m)^(HTTP/1\.1 \d+)[^\r\n]*", rb"\1", text)
    # curl writes what it encodes in a URL in small letters.
    return re.sub(rb"(?m)^([A-Za-z-]+):|%[0-9A-F]{2}", lambda found: found[0].lower(), text)


def encoded(name, body):
    return answer(body=body, Content_Encoding=name)


def cut(text=b"first"):
    """An answer that breaks off behind `text`."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + text


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


class Connections(Case):
    def framing_headers_are_those_of_the_body(self):
        self.compare_all(
            ([OK], *words, "URL/x")
            for words in (
                ["-H", "Transfer-Encoding: chunked", "-d", "abc"],
                ["-H", "transfer-encoding: Chunked", "-T", "a.json"],
                ["-H", "Content-Length: 3", "-d", "xyz"],
                ["-H", "Content-Length: 8", "-T", "a.json", "-X", "POST"],
                ["-X", "GET", "-d", "x"],
                ["-X", "DELETE", "-H", "Transfer-Encoding: chunked", "-d", "abc"],
            )
        )
        self.compare([to("/b", "307 Again"), OK], "-L", "-H", "Content-Length: 1", "-d", "x", "URL/a")

    def a_kept_connection_that_is_closed_is_replaced(self):
        self.compare_all(
            ([[OK, b"keep"], [OK]], *words, "URL/1", "URL/2")
            for words in ([], ["-d", "x"], ["-d", "@a.json"], ["-F", "a=@a.json"])
        )
        self.compare([[OK, b"keep"], [b""]], "URL/1", "URL/2")
        self.compare([[OK, [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 0]], [OK]], "URL/1", "URL/2")


class Proxies(Case):
    def http_urls_go_to_the_proxy_as_they_are(self):
        self.compare_all(
            ([OK], "-x", proxy, *words)
            for proxy in ("http://127.0.0.1:PORT", "127.0.0.1:PORT", "http://u:p%40@127.0.0.1:PORT/")
            for words in (
                ["http://example.invalid/x?y#z"],
                ["http://example.invalid:80"],
                ["http://example.invalid:8080/", "-d", "x", "-u", "a:b"],
                ["http://example.invalid/", "-H", "Host: own"],
            )
        )
        self.compare([to("http://other.invalid/x"), OK], "-L", "-x", "127.0.0.1:PORT", "http://example.invalid/")
        self.compare([answer("407 Who", b"no")], "-x", "127.0.0.1:PORT", "https://example.invalid/")

    def exceptions_are_those_of_curl(self):
        for url, *lists in (
            ("http://127.0.0.1:1/", "127.0.0.0/8", ".0.0.1", "a, *", "*", "127.0.0.1", "127.0.0.0/33", "0.0.1", "10.0.0.0/8 127.0.0.1/32", "127.0.0.1/0"),
            ("http://[::1]:1/", "::1", "fe80::/10", "1"),
            ("http://localhost:1/", "localhost", "LOCALHOST", ".localhost", "host", "localhost.", "127.0.0.1", "x,localhost"),
        ):
            for exceptions in lists:
                with self.subTest(url=url, exceptions=exceptions):
                    self.compare([OK], url, http_proxy="http://127.0.0.1:PORT", no_proxy=exceptions)

    def proxies_that_cannot_be_used_are_errors(self):
        self.compare_all(([OK], "-x", proxy, url) for url in ("URL/", "https://127.0.0.1:1/") for proxy in ("socks9://127.0.0.1:1", "://", "http://127.0.0.1:99999", "no-host.invalid:1"))
        for scheme in ("socks4", "socks5", "SOCKS5H"):
            for url in ("URL/", "https://127.0.0.1:1/"):
                with self.subTest(scheme=scheme, url=url):
                    done, *_ = self.run_one(OURS, [[OK]], [url], {"all_proxy": f"{scheme}://u:SECRET@127.0.0.1:1"})
                    self.assertEqual(done.returncode, 7, done.stderr)
                    self.assertIn(scheme.lower().encode(), done.stderr)
                    self.assertNotIn(b"SECRET", done.stderr)


class Requests(Case):
    def data_and_files_go_to_the_url_that_curl_chooses(self):
        self.compare_all(
            ([OK], *words)
            for words in (
                ["-G", "-d", "a=b", "URL/x#fragment"],
                ["-G", "-d", "a=b", "-d", "c=d", "URL/x?#fragment"],
                ["-T", "a.json", "URL/dir/"],
                ["-T", "a.json", "URL"],
                ["-T", 'q"u;o.TXT', "URL/dir/?a=b#c"],
                ["-T", "a.json", "URL/dir/", "URL/x"],
                ["-T", "a.json", "-T", "format", "URL/dir/", "URL/x/"],
                ["--path-as-is", "URL/a/../b"],
                ["URL/a/../b/./c"],
                ["-g", "URL/x"],
            )
        )

    def credentials_and_cookies_are_those_of_curl(self):
        self.compare_all(
            ([OK], *words, "URL/")
            for words in (
                ["-b", "a=b", "-b", "c=d"],
                ["-b", "a=b; c=d", "-b", "e=f;"],
                ["-u", "a:b", "--oauth2-bearer", "token"],
            )
        )
        self.compare([OK], "-u", "a:b", f"http://c:d@127.0.0.1:{self.server.port}/")


class Answers(Case):
    def outputs_belong_to_the_urls_in_order(self):
        self.compare_all(
            ([answer(body=b"one"), answer(body=b"two"), answer(body=b"three")], *words)
            for words in (
                ["-o", "OUT/a", "-o", "OUT/b", "URL/1", "URL/2"],
                ["-o", "OUT/a", "URL/1", "URL/2"],
                ["URL/1", "-o", "OUT/a", "URL/2", "-o", "OUT/b", "-o", "-", "URL/3"],
                ["-o", "OUT/a", "-o", "OUT/b", "-w", "%{filename_effective}", "URL/1"],
            )
        )

    def a_remote_name_is_that_of_the_first_url(self):
        done, *_ = self.run_one(OURS, [[to("/there")], [OK]], ["-L", "-O", "-w", "%{filename_effective}", "URL/here"], {})
        self.assertEqual((done.returncode, done.stdout), (0, b"here"), done.stderr)

    def every_head_is_shown(self):
        self.compare_all(
            (script, *words, *more, "URL/")
            for script in ([to("/x"), OK], [to("/x"), to("/y"), answer("404 Not Found", b"no")], [answer("404 Not Found", b"no")])
            for words in ([], ["-f"], ["--fail-with-body"], ["-L"], ["-L", "-f"], ["-L", "--max-redirs", "0"], ["-L", "--max-redirs", "-1"])
            for more in (["-i"], ["-D", "OUT/head"], ["-D", "-"], ["-i", "-o", "OUT/body"])
        )
        # No server sends a body to HEAD.
        heads = [to("/x").split(b"elsewhere")[0], answer("404 Not Found")]
        self.compare_all((heads, "-I", *words, "URL/") for words in ([], ["-f"], ["-L"], ["-L", "-f"]))

    def statuses_are_those_of_curl(self):
        missing = answer("404 Not Found", b"no")
        self.compare_all(
            (
                ([missing, OK], "-f", "URL/1", "URL/2"),
                ([OK, missing], "-f", "URL/1", "URL/2"),
                ([b""], "URL/"),
                ([b""], "-d", "x", "URL/"),
                ([cut()], "URL/"),
                ([OK], "-F", "nothing", "URL/"),
                ([OK], "--form-string", "nothing", "URL/"),
                ([OK], "-w", "@format", "URL/"),
                ([OK], "-T", "a.json", "-d", "x", "URL/"),
                ([OK], "-T", "a.json", "-F", "a=b", "URL/"),
                ([OK], "-I", "-d", "x", "URL/"),
                ([OK], "-F", "a=b", "-d", "x", "URL/"),
                ([OK], "-G", "-I", "-d", "x", "URL/"),
                ([OK], "-m", "0", "--connect-timeout", "0", "URL/"),
                ([OK], "-m", "1e15", "URL/"),
                ([OK], "-m", "1e19", "URL/"),
                ([OK], "--connect-timeout", "1e19", "URL/"),
                ([OK], "-m", "inf", "URL/"),
                ([OK], "-m", "-1", "URL/"),
                ([OK], "--max-redirs", "-2", "URL/"),
            )
        )

    def what_may_be_a_secret_is_not_in_an_error(self):
        for words in (["-H", "Authorization S3cret"], ["-H", "S3cret"], ["-b", "S3cret"], ["-F", "S3cret"], ["--form-string", "S3cret"]):
            with self.subTest(words):
                done, *_ = self.run_one(OURS, [[OK]], [*words, "URL/"], {})
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(b"expected NAME", done.stderr)
                self.assertNotIn(b"S3cret", done.stderr)

    def a_referer_that_follows_redirects_is_refused_before_a_request(self):
        for referer in (";auto", "http://x;auto"):
            done, *_ = self.run_one(OURS, [[OK]], ["-L", "-e", referer, "URL/"], {})
            self.assertEqual((done.returncode, done.stdout), (2, b""))
            self.assertIn(b"there is no ;auto for --referer", done.stderr)

    def bodies_are_decoded_as_curl_decodes_them(self):
        text = b"a text\n" * 9
        raw = zlib.compressobj(wbits=-15)
        raw = raw.compress(text) + raw.flush()
        self.compare_all(
            ([encoded(name, body)], *words, "-H", "Accept-Encoding: gzip", "-w", "%{size_download}", "URL/")
            for name, body in (
                ("GZIP", gzip.compress(text)),
                ("x-gzip", gzip.compress(text)),
                ("deflate", zlib.compress(text)),
                ("Deflate", raw),
                ("deflate, gzip", gzip.compress(zlib.compress(text))),
                ("identity", text),
                ("none", text),
                ("unknown", b""),
                ("gzip", b""),
                ("gzip", text),
            )
            for words in (["--compressed"], [])
        )
        self.compare([encoded("unknown", text)], "--compressed", "-H", "Accept-Encoding: x", "URL/")


class Retries(Case):
    def transfers_are_repeated_as_curl_repeats_them(self):
        missing = answer("404 Not Found", b"no")
        busy = answer("503 Busy", b"busy")
        self.compare_all(
            (script, "--retry", "1", "-o", "OUT/body", "-w", "%{http_code} %{size_download}", *words, "URL/")
            for script, *words in (
                ([busy, OK],),
                ([busy, busy],),
                ([busy, OK], "--retry-delay", "1", "--retry-max-time", "30"),
                ([answer("503 Busy", b"", Retry_After="1"), OK],),
                ([answer("503 Busy", b"", Retry_After="99999"), OK], "--retry-max-time", "30"),
                ([[[b"", 3]], OK], "-m", "1"),
                ([[[cut(), 3]], OK], "-m", "1"),
                ([cut(), OK],),
                ([cut(), OK], "--retry-all-errors"),
                ([b"", OK],),
                ([b"", OK], "--retry-all-errors"),
                ([missing, OK], "-f"),
                ([missing, OK], "-f", "--retry-all-errors"),
                ([missing, OK], "--retry-all-errors"),
                ([missing, OK], "--fail-with-body", "--retry-all-errors"),
            )
        )
        self.compare([OK], "--retry", "1", "http://no-such-host.invalid/")

    def what_was_printed_of_a_failed_try_is_taken_back(self):
        script = [[cut(b"x" * 99)], [OK]]
        done, *_ = self.run_one(OURS, script, ["--retry", "1", "--retry-all-errors", "-i", "URL/"], {})
        self.assertEqual((done.returncode, done.stdout.count(b"HTTP/1.1")), (0, 1), done.stderr)
        # More than that is written at once.
        large = b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + b"x" * 400_000
        done, *_ = self.run_one(OURS, [[large], [OK]], ["--retry", "1", "--retry-all-errors", "URL/"], {})
        self.assertEqual((done.returncode, done.stdout), (18, b"x" * 400_000), done.stderr)

    def a_server_that_wants_hours_ends_the_retries(self):
        script = [[answer("503 Busy", b"busy", Retry_After="100000")], [OK]]
        done, *_ = self.run_one(OURS, script, ["--retry", "1", "URL/"], {})
        self.assertEqual((done.returncode, done.stdout), (0, b"busy"), done.stderr)


class Forms(Case):
    def parts_are_read_as_curl_reads_them(self):
        for part in (
            'f="quoted;x"',
            'f=@"a.json"',
            'f=@"q\\"u;o.TXT"',
            'f=@a.json;filename="b\\"c;d";type=a/b',
            'f="a\\\\b\\"c" ;type=text/x',
            "f= lead ",
            "f=plain;x=y",
            "f=plain;type=text/plain; charset=utf-8",
            'f="unterminated',
            'f=x"y;z"',
            "f=<a.json;type=x/y",
            "f=;type=x/y",
            "=novalue",
            "f=x;filename=a.txt",
            "f=x;filename=a.json",
            "f=@a.json ; type=a/b ; filename=z",
            'na"m\\e=x',
        ):
            with self.subTest(part=part):
                bodies = []
                for command in (THEIRS, OURS):
                    done, requests, *_ = self.run_one(command, [[OK]], ["-F", part, "URL/"], {})
                    self.assertEqual(done.returncode, 0, done.stderr)
                    bodies.append(requests[0][2])
                self.assertEqual(bodies[1], bodies[0])
