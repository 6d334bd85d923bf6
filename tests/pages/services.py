"""What the pages call: a web server, and moto in the place of AWS."""

import http.server
import json
import os
import pathlib
import socketserver
import sys
import threading

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "aws"))

from cloud import KEYS, REGION, Cloud  # noqa: E402


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers GET with two items, and everything else with what was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/slow":
            self.server.is_over.wait()
            self.close_connection = True
            return
        self.answer(json.dumps({"items": [{"id": 1, "name": "tea"}, {"id": 2, "name": "coffee"}]}).encode())

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Cache(socketserver.StreamRequestHandler):
    """Answers every line as a cache answers PING."""

    def handle(self):
        for _ in self.rfile:
            self.wfile.write(b"+PONG\r\n")


class Threads(http.server.ThreadingHTTPServer):
    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.is_over = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        self.is_over.set()
        self.shutdown()
        self.server_close()


class Services:
    """The servers; moto starts when a page needs it."""

    def __init__(self):
        self.web = Threads(Answers)
        self.cache = Threads(Cache)
        self.cloud = None

    def environment(self, text):
        """The variables for a page with this text."""
        url = f"http://127.0.0.1:{self.web.server_port}"
        found = {"API_URL": url, "SLACK_URL": url, "SLOW_URL": f"{url}/slow"}
        found |= {"CACHE_HOST": "127.0.0.1", "CACHE_PORT": str(self.cache.server_port)}
        if "\naws " in text or " aws " in text:
            if not self.cloud:
                os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
                self.cloud = Cloud()
                self.cloud.wait()
            found |= {**KEYS, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": self.cloud.url, "AWS_PAGER": ""}
            found |= {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true"}
        return found

    def stop(self):
        if self.cloud:
            self.cloud.stop()
        self.web.stop()
        self.cache.stop()
