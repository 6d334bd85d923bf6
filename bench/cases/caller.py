"""A caller of a function over HTTP, and a summary of its times; for the cases beside this file."""

import socket

PATH = "/2015-03-31/functions/function/invocations"


class Caller:
    """One connection, kept open for all calls."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, event):
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(event)}\r\n\r\n"
        self.socket.sendall(head.encode() + event)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self.read()
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        while len(body) < length:
            body += self.read()
        if not head.startswith(b"HTTP/1.1 200"):
            raise OSError(head.split(b"\r\n")[0])
        return body

    def read(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise OSError("the connection was closed")
        return piece

    def close(self):
        self.socket.close()


def echo(event):
    return b"Echoing request: '" + event + b"'"


def spread(values):
    ordered = sorted(values)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
    return f"p50 {at(0.5):.3f}  p90 {at(0.9):.3f}  p99 {at(0.99):.3f} ms  (n = {len(ordered)})"
