"""A server that gives prepared answers, byte for byte, and remembers its requests."""

import socket
import threading


def answer(status="200 OK", body=b"", **headers):
    """The bytes of an answer with its length."""
    headers = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


class Scripted:
    """`script` has a list of answers for each connection; after the last one, the server reads a request and closes.

    Further connections are as the last one. `PORT` in an answer becomes the port. A number waits that many seconds.
    """

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.is_over = threading.Event()
        self.start([[answer()]])
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def start(self, script):
        self.script = script
        self.connections = 0
        self.requests = []

    def stop(self):
        self.is_over.set()
        # Closing would leave the thread in accept(), and its descriptor to the next listener.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def _accept(self):
        while not self.is_over.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            answers = self.script[min(self.connections, len(self.script) - 1)]
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, answers, self.requests), daemon=True).start()

    def _serve(self, connection, answers, requests):
        with connection, connection.makefile("rb") as reader:
            try:
                for number, data in enumerate([*answers, None]):
                    if number == len(answers) and b"keep" not in answers[-1:]:
                        return
                    if not self._read(reader, connection, requests):
                        return
                    if data is None or data == b"keep":
                        return
                    for part in data if isinstance(data, list) else [data]:
                        if isinstance(part, (int, float)):
                            self.is_over.wait(part)
                        else:
                            connection.sendall(part.replace(b"PORT", str(self.port).encode()))
            except (OSError, ValueError):
                return

    @staticmethod
    def _read(reader, connection, requests):
        line = reader.readline()
        if not line:
            return False
        headers = []
        while (header := reader.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode("latin1").partition(":")
            headers.append((name.lower(), value.strip()))
        known = dict(headers)
        body = b""
        if known.get("expect"):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if known.get("transfer-encoding", "").lower() == "chunked" and not line.startswith(b"GET"):
            while size := int(reader.readline(), 16):
                body += reader.read(size)
                reader.readline()
            reader.readline()
        else:
            body = reader.read(int(known.get("content-length") or 0))
        requests.append((line.decode("latin1").split(" HTTP/")[0], headers, body))
        return True
