"""The REST API without a client library: what is sent is what the test says."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from pathlib import Path
from typing import Any, Self

from e2e_parts.patience import PATIENCE


class Connection(http.client.HTTPConnection):
    """One connection to the daemon's socket, kept alive between requests."""

    def __init__(self, path: Path, timeout: float = PATIENCE) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and answer; a body that is no bytes is sent as JSON, underscores in header names stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body
        if body is not None and not isinstance(body, bytes):
            data, named = json.dumps(body).encode(), {"Content-Type": "application/json", **named}
        self.request(method, urllib.parse.quote(path, safe="/?&=%:,"), data, named)
        answer = self.getresponse()
        text = answer.read()
        self.answer_headers = answer.headers
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text.decode(errors="replace")


def hijack(path: Path, request: str, timeout: float = PATIENCE) -> socket.socket:
    """The raw connection after a POST that upgrades; the answer's head has been read from it."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    sock.connect(str(path))
    headers = ("Host: docker", "Connection: Upgrade", "Upgrade: tcp", "Content-Length: 0")
    sock.sendall("\r\n".join((f"POST {request} HTTP/1.1", *headers, "", "")).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        assert piece, head
        head += piece
    assert head.startswith(b"HTTP/1.1 101"), head
    return sock
