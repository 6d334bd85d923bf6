"""A server that answers as a test says, and a home for settings of AWS."""

import http.server
import pathlib
import tempfile
import threading
import unittest


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, text="", headers=()):
        self.send_response_only(status)
        for name, value in (*headers, ("Content-Length", str(len(text)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


class Served(unittest.TestCase):
    """The handler keeps in `server.seen` what it was sent."""

    handler = Handler

    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self.server.seen = []
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.home = tempfile.TemporaryDirectory()

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()
        self.home.cleanup()

    def write(self, name, text):
        """A file in the home."""
        path = pathlib.Path(self.home.name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path
