"""One connection to the daemon: send a request, read its answer, or take the raw socket after an upgrade."""

from __future__ import annotations

import _socket
import select
import time

from corten.client import http
from corten.client.address import Address, connect
from corten.client.errors import BadAnswer, Broken, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import NoReturn

    Data = bytes | bytearray | memoryview

READ = 1 << 16  # bytes; above 128 KiB malloc(3) maps and unmaps memory for each piece
HEAD_SECONDS = 60.0  # from the first byte of an answer's head to its last; the first may take as long as it wants
MAX_BODY = 1 << 28  # bytes of an answer that is kept whole: those about 100,000 containers are below
MAX_INTERIM = 5  # answers before the answer (RFC 9110, 15.2), as Go's client


class Connection:
    """Owns one socket until `close`, or until `detach` gives it away."""

    def __init__(self, address: Address) -> None:
        self._sock = connect(address)
        self._over_ssh = address.url if address.program else ""
        self._plain_tcp = address.url if address.host and address.tls is None else ""
        self._buffer = memoryview(b"")  # received, and not yet read
        self._body: http.Body | None = None
        self._reusable = True

    def idle(self) -> bool:
        """Whether another request can be sent: the last answer was read whole and the peer has not hung up."""
        if not self._reusable or self._buffer or (self._body is not None and not self._body.done):
            return False
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        return not poll.poll(0)

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes | Iterable[Data] = b"") -> None:
        """Send one request; a body that is not bytes goes out in chunks."""
        if isinstance(body, bytes):
            if body or method in ("POST", "PUT"):
                headers = {**headers, "Content-Length": str(len(body))}
            try:
                self._sock.sendall(http.request(method, target, headers) + body)
            except (BrokenPipeError, ConnectionResetError):
                self._reusable = False  # as below; or there is no answer, and reading fails
            return
        self._sock.sendall(http.request(method, target, {**headers, "Transfer-Encoding": "chunked"}))
        try:
            before = b""
            for part in body:
                if part:
                    self._sock.sendall(b"%b%x\r\n" % (before, len(part)))
                    self._sock.sendall(part)  # by itself: putting it together with its frame would be a copy
                    before = b"\r\n"
            self._sock.sendall(before + b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            # The daemon refused before it had read everything; its reason is waiting to be read.
            self._reusable = False

    def receive_head(self, method: str) -> http.Head:
        """The head of the answer to a `method` request; the body follows through `read` or `rest`."""
        for _ in range(MAX_INTERIM + 1):
            head = self._next_head()
            if not 100 <= head.status < 200 or head.status == 101:
                break
        else:
            raise BadAnswer(f"the daemon sends interim answers without end ({head.status} {head.reason[:80]})")
        self._body = http.Body(head, method)
        self._reusable = self._reusable and head.reusable
        return head

    def _next_head(self) -> http.Head:
        """Raises BadAnswer for what is none, has no end, or takes longer than HEAD_SECONDS once it has begun."""
        deadline: float | None = None
        while (found := http.parse_head(bytes(self._buffer))) is None:
            if self._buffer and deadline is None:
                deadline = time.monotonic() + HEAD_SECONDS
            if deadline is not None and not self._readable(deadline):
                from corten.units.durations import in_go

                raise BadAnswer(f"the daemon did not end its answer's headers within {in_go(HEAD_SECONDS)}")
            if not self._fill():
                self._say_why_closed()
        head, length = found
        self._buffer = self._buffer[length:]
        return head

    def _readable(self, deadline: float) -> bool:
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))

    def _say_why_closed(self) -> NoReturn:
        if self._over_ssh:
            raise Unreachable(
                f"cannot reach an engine at {self._over_ssh}: the command there ended; "
                "are corten (or docker) in its PATH and a daemon running?",
                absent=False,
            )
        if self._plain_tcp:
            raise Broken(
                f"the daemon at {self._plain_tcp} closed the connection without an answer; if it speaks TLS, so do we "
                "with --tlsverify (DOCKER_TLS_VERIFY=1)"
            )
        raise Broken("the daemon closed the connection without an answer: see its log (journalctl -u cortend)")

    def read(self) -> bytes | memoryview:
        """The next part of the body, empty at its end. Raises Broken when the connection ends in the middle."""
        if self._body is None:
            raise BadAnswer("no answer is being read")
        pieces: list[memoryview] = []
        while not self._body.done:
            piece, self._buffer = self._body.feed(self._buffer)
            if piece:
                pieces.append(piece)
            elif pieces or self._body.done:
                break
            elif not self._fill():
                if not self._body.until_close:
                    raise Broken("the daemon closed the connection in the middle of an answer")
                self._body.done = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def rest(self) -> bytes:
        """What is left of the body, whole. Raises BadAnswer when it is larger than MAX_BODY."""
        pieces, size = [], 0
        for part in self.parts():
            pieces.append(part)
            if (size := size + len(part)) > MAX_BODY:
                raise BadAnswer(f"the daemon's answer is larger than {MAX_BODY} bytes")
        return b"".join(pieces)

    def parts(self) -> Iterator[bytes | memoryview]:
        """The body, part by part, as it comes."""
        while data := self.read():
            yield data

    def fileno(self) -> int:
        return self._sock.fileno()

    def buffered(self) -> bool:
        """Whether bytes of the body were already received, so that a poll of the socket might say nothing."""
        return bool(self._buffer)

    def ended(self) -> bool:
        """Whether the whole body was read, so that no poll of the socket will say anything more."""
        return self._body is not None and self._body.done

    def detach(self) -> tuple[_socket.socket, bytes]:
        """The socket itself and the bytes already read behind the head; both are the caller's now."""
        early = bytes(self._buffer)
        self._buffer = memoryview(b"")
        self._reusable = False
        return self._sock, early

    def shutdown(self) -> None:
        """End it while another thread reads: that one finds the end of the stream."""
        try:
            self._sock.shutdown(_socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def close(self) -> None:
        self._sock.close()

    def _fill(self) -> bool:
        try:
            data = self._sock.recv(READ)
        except ConnectionResetError:
            data = b""
        self._buffer = memoryview(bytes(self._buffer) + data if self._buffer else data)
        return bool(data)
