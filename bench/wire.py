"""The smallest HTTP/1.1 client on a unix socket: one connection, one request at a time, the same for every daemon."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from bench.measure import Failed


class Connection:
    """Kept alive between requests; `close` it, or use it in a `with` statement."""

    def __init__(self, path: Path, timeout: float = 120) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._reader = self._socket.makefile("rb", buffering=65536)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded JSON of the answer, its bytes where it is none. Raises Failed for a status of 400 and above."""
        status, kind, content = self.raw(method, path, body)
        if status >= 400:
            raise Failed(f"{method} {path.partition('?')[0]}: {status} {content.decode(errors='replace').strip()}")
        return json.loads(content) if kind.startswith("application/json") and content else content

    def raw(self, method: str, path: str, body: Any = None) -> tuple[int, str, bytes]:
        """Status, content type and content. A body of bytes is sent as a tar, any other as JSON."""
        kind, data = ("application/x-tar", body) if isinstance(body, bytes) else ("application/json", b"")
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: docker\r\nContent-Length: {len(data or b'')}\r\n"
        if data:
            head += f"Content-Type: {kind}\r\n"
        self._socket.sendall(head.encode() + b"\r\n" + (data or b""))
        return self._answer()

    def _answer(self) -> tuple[int, str, bytes]:
        line = self._reader.readline()
        if not line:
            raise Failed("the daemon closed the connection")
        status = int(line.split()[1])
        fields = {}
        while (line := self._reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.strip().lower()] = value.strip()
        return status, fields.get("content-type", ""), self._content(status, fields)

    def _content(self, status: int, fields: dict[str, str]) -> bytes:
        if status in (204, 304):
            return b""
        if fields.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b""))
        if "content-length" in fields:
            return bytes(self._reader.read(int(fields["content-length"])))
        return bytes(self._reader.read())

    def _chunk(self) -> bytes:
        size = int(self._reader.readline().split(b";")[0], 16)
        data = bytes(self._reader.read(size))
        self._reader.readline()
        return data
