"""HTTP/1.1 as a client needs it, without sockets: bytes in, events out (RFC 9112).

A response is a head (`parse_head`), then a body in one of three framings, which `Body` undoes without copying:

    Content-Length: N           exactly N bytes
    Transfer-Encoding: chunked  size-in-hex CRLF bytes CRLF ... 0 CRLF trailers CRLF
    neither                     until the connection ends
"""

from __future__ import annotations

from corten.client.errors import BadAnswer
from corten.errors import Invalid

MAX_HEAD = 1 << 18  # bytes; ours are below 1 KiB
MAX_LINE = 1 << 10  # bytes of a chunk's size line, and of a trailer
MAX_TRAILERS = 64
_START, _END = b"HTTP/1.", b"\r\n\r\n"
_TLS_ALERT = b"\x15\x03"
_NOTHING = memoryview(b"")
_HEX = b"0123456789abcdefABCDEF"
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


def named(kind: str, name: str, safe: bytes = b"") -> str:
    """A name or id as a part of a path. Raises Invalid for an empty one, with which it would be another request."""
    if not name:
        raise Invalid(f"invalid {kind} name or ID: value is empty")
    return quote(name, safe)


def query(values: dict[str, str | None]) -> str:
    """`?a=b&c=d` in the order given, or nothing; None leaves a key out."""
    pairs = [f"{quote(key)}={quote(value)}" for key, value in values.items() if value is not None]
    return "?" + "&".join(pairs) if pairs else ""


def request(method: str, target: str, headers: dict[str, str]) -> bytes:
    """The head of a request, ready to be sent."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def parse_head(data: bytes) -> tuple[Head, int] | None:
    """The head that `data` begins with, and how many bytes it has; None while it is incomplete.

    Raises BadAnswer for what is none.
    """
    if not _START.startswith(data[: len(_START)]):
        raise BadAnswer(_no_answer(data))
    end = data.find(_END, 0, MAX_HEAD)
    if end < 0:
        if len(data) >= MAX_HEAD:
            raise BadAnswer(f"the daemon's answer has no end of headers within {MAX_HEAD} bytes")
        return None
    lines = data[:end].decode("latin-1").split("\r\n")
    _, _, rest = lines[0].partition(" ")
    status, _, reason = rest.partition(" ")
    if len(status) != 3 or not _is_number(status):
        raise BadAnswer(_no_answer(data))
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Head(int(status), reason, headers), end + len(_END)


def _no_answer(data: bytes) -> str:
    if data.startswith(_TLS_ALERT):
        return "the daemon speaks TLS there; so do we with --tls or --tlsverify (DOCKER_TLS_VERIFY)"
    return f"not an HTTP answer: {data[:80]!r}"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


class Body:
    """Decodes the framing of one response's body. `feed` gives it piece by piece; `done` is true at its end."""

    __slots__ = ("_behind", "_chunked", "_left", "_trailers", "done", "until_close")

    def __init__(self, head: Head, method: str) -> None:
        self._chunked = "chunked" in head.headers.get("transfer-encoding", "").lower()
        length = head.headers.get("content-length")
        self.until_close = False
        self._left = 0  # bytes of the body, or of the chunk
        self._behind = False  # a chunk's data: the end of its line comes next
        self._trailers = -1  # how many have come, once the last chunk has
        self.done = method == "HEAD" or head.status in (204, 304) or 100 <= head.status < 200
        if self.done or self._chunked:
            return
        if length is None:
            self.until_close = True
        elif _is_number(length) and len(length) < 20:
            self._left = int(length)
            self.done = self._left == 0
        else:
            raise BadAnswer(f"bad Content-Length {length[:80]!r}")

    def feed(self, data: memoryview) -> tuple[memoryview, memoryview]:
        """The next piece of the body in `data`, and what comes behind it. An empty piece: more is needed, or the end.

        Both are views of `data`. Raises BadAnswer for wrong framing.
        """
        if self.done:
            return _NOTHING, data
        if self.until_close:
            return data, _NOTHING
        while self._chunked and not self._left:
            end = bytes(data[: MAX_LINE + 2]).find(b"\r\n")
            if end < 0:
                if len(data) > MAX_LINE:
                    raise BadAnswer(f"bad chunk {bytes(data[:20])!r}")
                return _NOTHING, data
            self._line(bytes(data[:end]))
            data = data[end + 2 :]
            if self.done:
                return _NOTHING, data
        piece = data[: self._left]
        self._left -= len(piece)
        self._behind = self._chunked and not self._left
        self.done = not self._left and not self._chunked
        return piece, data[len(piece) :]

    def _line(self, line: bytes) -> None:
        """What is between the chunks' data: the end of the line behind it, the next size, in the end the trailers."""
        if self._behind:
            self._behind = False
            if line:
                raise BadAnswer(f"bad chunk {line[:20]!r}")
        elif self._trailers < 0:
            self._left = _chunk_size(line)
            self._trailers = -1 if self._left else 0
        else:
            self._trailers += 1
            self.done = not line
            if self._trailers > MAX_TRAILERS:
                raise BadAnswer("the daemon's answer has no end of trailers")


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not 0 < len(digits) <= 16 or digits.strip(_HEX):
        raise BadAnswer(f"bad chunk size {line[:20]!r}")
    return int(digits, 16)
