"""One connection to the daemon: send a request, read its answer, or take the raw socket after an upgrade."""

from __future__ import annotations

import _socket
import select

from corten.client import http
from corten.client.address import Address, connect
from corten.client.errors import BadAnswer, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

READ = 1 << 16


class Connection:
    """Owns one socket until `close`, or until `detach` gives it away."""

    def __init__(self, address: Address) -> None:
        self._sock = connect(address)
        self._over_ssh = address.url if address.program else ""
        self._buffer = bytearray()
        self._body: http.Body | None = None
        self._reusable = True

    def idle(self) -> bool:
        """Whether another request can be sent: the last answer was read whole and the peer has not hung up."""
        if not self._reusable or self._buffer or (self._body is not None and not self._body.done):
            return False
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        return not poll.poll(0)

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes | Iterable[bytes] = b"") -> None:
        """Send one request; a body that is not bytes goes out in chunks."""
        if isinstance(body, bytes):
            if body or method in ("POST", "PUT"):
                headers = {**headers, "Content-Length": str(len(body))}
            try:
                self._sock.sendall(http.request(method, target, headers) + body)
            except (BrokenPipeError, ConnectionResetError):
                self._reusable = False  # as below; or there is no answer, which reading tells
            return
        self._sock.sendall(http.request(method, target, {**headers, "Transfer-Encoding": "chunked"}))
        try:
            for part in body:
                if part:
                    self._sock.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            self._sock.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            # The daemon refused before it had read everything; its reason is waiting to be read.
            self._reusable = False

    def receive_head(self, method: str) -> http.Head:
        """The head of the answer to a `method` request; the body follows through `read` or `rest`."""
        while (head := http.take_head(self._buffer)) is None or head.status == 100:
            if head is None and not self._fill():
                if self._over_ssh:
                    raise Unreachable(
                        f"cannot reach an engine at {self._over_ssh}: the command there ended; "
                        "are corten (or docker) in its PATH and a daemon running?",
                        absent=False,
                    )
                raise BadAnswer("the daemon closed the connection without an answer")
        self._body = http.Body(head, method)
        self._reusable = self._reusable and head.reusable
        return head

    def read(self) -> bytes:
        """The next part of the body, empty at its end. BadAnswer when the connection ends in the middle."""
        if self._body is None:
            raise BadAnswer("no answer is being read")
        while not self._body.done:
            if data := self._body.feed(self._buffer):
                return data
            if self._body.done:
                break
            if not self._fill():
                if not self._body.until_close:
                    raise BadAnswer("the daemon closed the connection in the middle of an answer")
                self._body.done = True
        return b""

    def rest(self) -> bytes:
        """What is left of the body, whole."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[bytes]:
        """The body, part by part, as it comes."""
        while data := self.read():
            yield data

    def fileno(self) -> int:
        return self._sock.fileno()

    def buffered(self) -> bool:
        """Whether bytes of the body were already received, so that a poll of the socket might say nothing."""
        return bool(self._buffer)

    def detach(self) -> tuple[_socket.socket, bytes]:
        """The socket itself and the bytes already read behind the head; both are the caller's now."""
        early = bytes(self._buffer)
        self._buffer.clear()
        self._reusable = False
        return self._sock, early

    def close(self) -> None:
        self._sock.close()

    def _fill(self) -> bool:
        try:
            data = self._sock.recv(READ)
        except ConnectionResetError:
            data = b""
        self._buffer += data
        return bool(data)
