"""A small HTTP proxy: CONNECT and absolute requests, to where a test says that a name is."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit


class Proxy:
    """`heads` are the requests that it saw, as text; `address` is HOST:PORT."""

    def __init__(self, routes: Mapping[str, str]) -> None:
        self.routes = dict(routes)  # host:port as asked for, to host:port as it is
        self.heads: list[str] = []
        self.address = ""

    def serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(65536)
            if not piece:
                return
            head += piece
        text, _, rest = head.partition(b"\r\n\r\n")
        self.heads.append(text.decode())
        method, target, _ = self.heads[-1].split("\r\n")[0].split(" ")
        if method == "CONNECT":
            self._tunnel(client, target)
        else:
            self._forward(client, target, text.decode(), rest)

    def _tunnel(self, client: socket.socket, target: str) -> None:
        if target not in self.routes:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        with self._connect(target) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            relay(client, server)

    def _forward(self, client: socket.socket, target: str, head: str, rest: bytes) -> None:
        parts = urlsplit(target)
        place = f"{parts.hostname}:{parts.port or 80}"
        lines = head.split("\r\n")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kept = [line for line in lines[1:] if not line.lower().startswith(("proxy-", "connection:"))]
        with self._connect(place) as server:
            first = f"{lines[0].split(' ')[0]} {path} HTTP/1.1"
            server.sendall("\r\n".join([first, *kept, "Connection: close", "", ""]).encode() + rest)
            relay(client, server)

    def _connect(self, place: str) -> socket.socket:
        host, _, port = self.routes[place].rpartition(":")
        return socket.create_connection((host, int(port)))


def relay(one: socket.socket, other: socket.socket) -> None:
    """Both ways, until one of them ends."""
    while True:
        for ready in select.select([one, other], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            (other if ready is one else one).sendall(data)


@contextmanager
def proxy(routes: Mapping[str, str]) -> Iterator[Proxy]:
    running = Proxy(routes)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                running.serve(self.request)
            except OSError:
                return  # its client has gone

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        running.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join(60)
