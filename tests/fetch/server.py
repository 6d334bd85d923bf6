"""A server that answers as the path says, and remembers its requests; with TLS, if it gets a certificate.

    /echo                 the request, as text
    /status/418           that status
    /size/1000            1,000 bytes
    /redirect/302?to=...  that status, and a location
    /flaky/NAME/2         twice 503, then 200
    /slow                 a byte now, the rest never
    /cut                  half of what Content-Length says
    /gzip                 a compressed text
    /drop                 closes the connection
"""

import collections
import gzip
import http.server
import ssl
import threading
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def read_body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer(self):
        body = self.read_body()
        url = urllib.parse.urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        self.server.seen.append((self.command, self.path, dict((name.lower(), value) for name, value in self.headers.items()), body))
        match parts[0]:
            case "status":
                self.send(int(parts[1]), b"refused\n")
            case "size":
                self.send(200, b"x" * int(parts[1]), Content_Type="text/x")
            case "redirect":
                to = urllib.parse.parse_qs(url.query)["to"][0]
                self.send(int(parts[1]), b"elsewhere\n", Location=to)
            case "flaky":
                self.server.counts[parts[1]] += 1
                is_ready = self.server.counts[parts[1]] > int(parts[2])
                self.send(200 if is_ready else 503, b"at last\n")
            case "slow":
                self.send_response(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                self.wfile.write(b"x")
                self.wfile.flush()
                self.server.is_over.wait(30)
                self.close_connection = True
            case "cut":
                self.send_response(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                self.wfile.write(b"x" * 50)
                self.close_connection = True
            case "gzip":
                self.send(200, gzip.compress(b"a text\n" * 100, mtime=0), Content_Encoding="gzip")
            case "drop":
                self.close_connection = True
            case _:
                text = f"{self.command} {self.path}\n".encode() + body + b"\n"
                self.send(200, text, Content_Type="text/plain", X_Made_By="server")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, certificate=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        self.counts = collections.Counter()
        self.is_over = threading.Event()
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            scheme = "https"
        self.connections = 0
        self.url = f"{scheme}://localhost:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def handle_error(self, *_):
        # A client that does not trust the certificate, for example.
        pass

    def stop(self):
        self.is_over.set()
        self.shutdown()
        self.server_close()
