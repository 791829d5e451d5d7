"""A daemon that plays a script: a real unix socket, real HTTP, answers chosen by the test, requests kept in order."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Request(NamedTuple):
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Handler = Callable[[Request, socket.socket], None]


def reply(status: int = 200, document: Any = None, headers: dict[str, str] | None = None) -> bytes:
    body = b"" if document is None else json.dumps(document).encode()
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json"] if body else []
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def stream(*documents: Any) -> bytes:
    """A progress stream, one chunk a document."""
    parts = [json.dumps(document).encode() + b"\r\n" for document in documents]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunks
        + b"0\r\n\r\n"
    )


def frame(kind: int, data: bytes) -> bytes:
    return bytes([kind, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


class Daemon:
    """Answers "METHOD /path" (without version) with fixed bytes or a handler; everything unknown is 404."""

    def __init__(self, path: Path, version: str = "1.50") -> None:
        self.path = path
        self.url = f"unix://{path}"
        self.version = version
        self.requests: list[Request] = []
        self.connections = 0
        self.answers: dict[str, bytes | Handler] = {}
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(16)
        self._open: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def on(self, what: str, answer: bytes | Handler) -> None:
        self.answers[what] = answer

    def named(self) -> list[str]:
        """What was asked for, in order, without the pings."""
        return [f"{one.method} {one.path}" for one in self.requests if one.path != "/_ping"]

    def request(self, what: str) -> Request:
        return next(one for one in self.requests if f"{one.method} {one.path}" == what)

    def close(self) -> None:
        # A thread in accept(2) is not woken by close(2).
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._accepting.join()  # or it would take the next one's connections: that may get the same descriptor
        for one in [self._server, *self._open]:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection.makefile("rb") as file:
            while request := self._read(file):
                self.requests.append(request)
                answer = self._answer(request)
                if callable(answer):
                    answer(request, connection)
                else:
                    connection.sendall(answer)

    def _answer(self, request: Request) -> bytes | Handler:
        if request.path == "/_ping":
            return reply(200, None, {"Api-Version": self.version})
        missing = reply(404, {"message": f"page not found: {request.path}"})
        return self.answers.get(f"{request.method} {request.path}", missing)

    @staticmethod
    def _read(file: Any) -> Request | None:
        line = file.readline().decode()
        if not line:
            return None
        method, target, _ = line.split()
        headers = {}
        while head := file.readline().strip():
            name, _, value = head.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = file.read(int(headers.get("content-length", 0)))
        if headers.get("transfer-encoding") == "chunked":
            while size := int(file.readline(), 16):
                body += file.read(size)
                file.readline()
            file.readline()
        path, _, query = target.partition("?")
        if path.startswith("/v1."):
            path = "/" + path.split("/", 2)[2]
        return Request(method, path, query, headers, body)


@contextlib.contextmanager
def daemon_at(path: Path, version: str = "1.50") -> Iterator[Daemon]:
    found = Daemon(path, version)
    try:
        yield found
    finally:
        found.close()
