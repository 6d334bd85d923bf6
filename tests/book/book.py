"""The book that `make book` builds: its links lead somewhere, and Chromium finds nothing wrong with its pages."""

import functools
import http.server
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest
from urllib.parse import unquote

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BOOK = REPOSITORY / "target/book"
CHECK = pathlib.Path(__file__).parent / "check.html"
LIMIT = 300
# Pages that no reader opens.
NOT_READ = ("toc.html", "404.html")


def pages():
    found = sorted(str(path.relative_to(BOOK)) for path in BOOK.rglob("*.html"))
    return [path for path in found if path not in NOT_READ]


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves the book, and takes the report of the checks."""

    protocol_version = "HTTP/1.1"

    def __init__(self, reports, checked, *arguments):
        self.reports, self.checked = reports, checked
        super().__init__(*arguments, directory=BOOK)

    def do_GET(self):
        if self.path == "/check.html":
            self.send(CHECK.read_bytes(), "text/html; charset=utf-8")
        elif self.path == "/pages.json":
            self.send(json.dumps(self.checked).encode(), "application/json")
        else:
            super().do_GET()

    def do_POST(self):
        self.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send(b"", "text/plain")

    def send(self, body, content_type):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Case(unittest.TestCase):
    """The class by which tests/run finds tests."""


class Book(Case):
    def _report(self, checked):
        """What Chromium finds on these pages."""
        reports = queue.Queue()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, reports, checked))
        # The browser is killed while it is connected.
        server.handle_error = lambda *_: None
        self.addCleanup(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        home = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"]
        command += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad"]
        # The page waits for frames, which a hidden one would not get.
        command += ["--disable-renderer-backgrounding", "--window-size=1400,900", "--remote-debugging-port=0", f"--user-data-dir={home}"]
        browser = subprocess.Popen([*command, f"http://127.0.0.1:{server.server_port}/check.html"], env={**os.environ, "HOME": home},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.addCleanup(browser.wait)
        self.addCleanup(os.killpg, browser.pid, signal.SIGKILL)
        return reports.get(timeout=LIMIT)

    def nothing_is_wrong_with_any_page_in_both_colours_on_phone_and_desk(self):
        report = self._report(pages())
        wrong = report["wrong"]
        self.assertFalse(wrong, "\n".join([f"{len(wrong)} findings", *wrong[:40]]))
        self.assertEqual(report["checked"], 2 * len(pages()))
        self.assertGreater(report["checked"], 120)

    def what_is_wrong_is_found(self):
        broken = BOOK / "broken.html"
        text = (BOOK / "docs" / "start.html").read_text().replace('"../', '"').replace("<main>", BROKEN)
        broken.write_text(text)
        self.addCleanup(broken.unlink)
        found = "\n".join(self._report(["broken.html"])["wrong"])
        missing = [part for part in ("contrast 1.", "headings: 3,", "no name: <button", "does not show its focus", "no text for the image", "too wide: div") if part not in found]
        self.assertEqual(missing, [])

    def every_link_and_anchor_leads_somewhere(self):
        texts = {path: (BOOK / path).read_text() for path in pages()}
        anchors = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in texts.items()}
        wrong, count = [], 0
        for name, text in texts.items():
            for target in re.findall(r'\b(?:href|src)="([^"]+)"', text):
                if re.match(r"[a-z]+:|//", target):
                    continue
                count += 1
                file, _, anchor = unquote(target).partition("#")
                file = os.path.normpath(os.path.join(os.path.dirname(name), file)) if file else name
                if not (BOOK / file).is_file() or (anchor and file in anchors and anchor not in anchors[file]):
                    wrong.append(f"{name}: {target}")
        self.assertEqual(wrong, [])
        self.assertGreater(count, 1000)


BROKEN = """<main><h3>Third</h3><p style="color: #ddd; background: #eee">pale</p><button></button><img src="favicon.png">
<a href="#" style="outline: none; box-shadow: none">no outline</a><div style="width: 2000px">wide</div>
<style>a { outline: none !important; }</style>"""
