"""HTTP/1.1 as a client needs it, without sockets: bytes in, events out (RFC 9112).

A response is a head (`take_head`), then a body in one of three framings, which `Body` undoes:

    Content-Length: N           exactly N bytes
    Transfer-Encoding: chunked  size-in-hex CRLF bytes CRLF ... 0 CRLF trailers CRLF
    neither                     until the connection ends
"""

from __future__ import annotations

from corten.client.errors import BadAnswer

MAX_HEAD = 1 << 20
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Head:
    """Status line and headers of a response; header names are lower case."""

    __slots__ = ("headers", "reason", "status")

    def __init__(self, status: int, reason: str, headers: dict[str, str]) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another request after this response's body."""
        framed = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "").lower()
        bodiless = self.status in (204, 304)
        return (framed or bodiless) and self.headers.get("connection", "").lower() != "close"


def quote(text: str, safe: bytes = b"") -> str:
    """Percent-encode everything but RFC 3986's unreserved characters and `safe`."""
    return "".join(
        chr(byte) if byte in _PLAIN or byte in safe else f"%{byte:02X}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


def query(values: dict[str, str | None]) -> str:
    """`?a=b&c=d` in the order given, or nothing; None leaves a key out."""
    pairs = [f"{quote(key)}={quote(value)}" for key, value in values.items() if value is not None]
    return "?" + "&".join(pairs) if pairs else ""


def request(method: str, target: str, headers: dict[str, str]) -> bytes:
    """The head of a request, ready to be sent."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def take_head(buffer: bytearray) -> Head | None:
    """Cut a whole response head off the front of `buffer`; None while it is incomplete. BadAnswer."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > MAX_HEAD:
            raise BadAnswer("the daemon's answer has no end of headers")
        return None
    lines = buffer[:end].decode("latin-1").split("\r\n")
    del buffer[: end + 4]
    protocol, _, rest = lines[0].partition(" ")
    status, _, reason = rest.partition(" ")
    if not protocol.startswith("HTTP/1.") or not status.isdigit():
        raise BadAnswer(f"not an HTTP answer: {lines[0][:80]!r}")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Head(int(status), reason, headers)


class Body:
    """Undoes the framing of one response's body. `feed` cuts what it can use off the buffer; `done` tells the end."""

    __slots__ = ("_chunked", "_left", "done", "until_close")

    def __init__(self, head: Head, method: str) -> None:
        self._chunked = "chunked" in head.headers.get("transfer-encoding", "").lower()
        length = head.headers.get("content-length")
        self.until_close = False
        self._left = 0
        self.done = method == "HEAD" or head.status in (204, 304) or 100 <= head.status < 200
        if self.done or self._chunked:
            return
        if length is None:
            self.until_close = True
        elif length.isdigit():
            self._left = int(length)
            self.done = self._left == 0
        else:
            raise BadAnswer(f"bad Content-Length {length!r}")

    def feed(self, buffer: bytearray) -> bytes:
        """Body bytes from the front of `buffer` (removed there); empty when more must be read, or at the end."""
        if self.done or not buffer:
            return b""
        if self.until_close:
            return _cut(buffer, len(buffer))
        if self._chunked:
            return self._feed_chunked(buffer)
        data = _cut(buffer, min(self._left, len(buffer)))
        self._left -= len(data)
        self.done = self._left == 0
        return data

    def _feed_chunked(self, buffer: bytearray) -> bytes:
        """`_left` counts the chunk's bytes with its CRLF; 0 is "before a size line", -1 "in the trailers"."""
        parts = []
        while buffer:
            if self._left <= 0:
                end = buffer.find(b"\r\n")
                if end < 0:
                    break
                line = _cut(buffer, end + 2)[:-2]
                if self._left == 0:
                    self._left = _chunk_size(line)
                elif not line:
                    self.done = True
                    break
                continue
            data = _cut(buffer, min(self._left, len(buffer)))
            self._left -= len(data)
            # The CRLF behind a chunk counts as its last two bytes; they are not part of the body.
            surplus = max(0, 2 - self._left)
            parts.append(data[: len(data) - min(surplus, len(data))] if surplus else data)
        return b"".join(parts)


def _chunk_size(line: bytes) -> int:
    try:
        size = int(line.partition(b";")[0], 16)
    except ValueError:
        raise BadAnswer(f"bad chunk size {line[:20]!r}") from None
    return size + 2 if size else -1


def _cut(buffer: bytearray, count: int) -> bytes:
    data = bytes(buffer[:count])
    del buffer[:count]
    return data
