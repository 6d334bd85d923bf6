"""What the pages call: a web server, and moto in the place of AWS."""

import http.server
import json
import pathlib
import sys
import threading

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "aws"))

from cloud import KEYS, REGION, Cloud  # noqa: E402


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers GET with two items, and everything else with what was sent."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
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


class Services:
    """Started when a page needs them."""

    def __init__(self):
        self.web = self.cloud = None

    def environment(self, text):
        """The variables for a page with this text."""
        found = {}
        if "_URL" in text:
            if not self.web:
                self.web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
                threading.Thread(target=self.web.serve_forever, daemon=True).start()
            found["API_URL"] = found["SLACK_URL"] = f"http://127.0.0.1:{self.web.server_port}"
        if "\naws " in text or " aws " in text:
            if not self.cloud:
                self.cloud = Cloud()
                self.cloud.wait()
            found |= {**KEYS, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": self.cloud.url, "AWS_PAGER": ""}
            found |= {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true"}
        return found

    def stop(self):
        if self.cloud:
            self.cloud.stop()
        if self.web:
            self.web.shutdown()
            self.web.server_close()
