"""The client itself: version negotiation, one kept connection for short calls, streams and upgrades on their own."""

from __future__ import annotations

from corten.client import http, quickjson
from corten.client.address import Address
from corten.client.connection import Connection
from corten.client.errors import ApiError, BadAnswer, StreamError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable, Iterator
    from typing import Any

    from corten.client.connection import Data

    Json = dict[str, Any]
    Query = dict[str, str | None]

MAX_VERSION = "1.50"
MIN_VERSION = "1.24"
_OURS = "Corten/"
MAX_LINE = 16 << 20  # bytes of one document of a stream
# What a daemon speaks that does not say so (before negotiation existed).
SILENT_VERSION = "1.24"
USER_AGENT = "Corten-Client/0.1.0 (linux)"


class Upgraded:
    """A raw two-way stream after an upgrade. `mux` when the daemon says that output comes in frames."""

    __slots__ = ("early", "media_type", "sock")

    def __init__(self, sock: _socket.socket, early: bytes, media_type: str) -> None:
        self.sock = sock
        self.early = early
        self.media_type = media_type


class Answer:
    """A response whose body is read as it comes; it owns its connection."""

    __slots__ = ("connection", "head")

    def __init__(self, connection: Connection, head: http.Head) -> None:
        self.connection = connection
        self.head = head

    def parts(self) -> Iterator[bytes | memoryview]:
        """The body as it comes; the connection is closed at its end, and when it breaks off."""
        try:
            yield from self.connection.parts()
        finally:
            self.close()

    def documents(self) -> Iterator[Json]:
        """The JSON documents of a progress or event stream, one per line."""
        pending = b""
        for part in self.parts():
            *lines, pending = (pending + part).split(b"\n")
            if len(pending) > MAX_LINE:
                raise BadAnswer(f"the daemon's answer has a line of more than {MAX_LINE} bytes")
            for line in lines:
                if line.strip():
                    yield _object(line)
        if pending.strip():
            yield _object(pending)

    def json(self) -> Any:
        """The whole body; the connection is closed behind it."""
        try:
            return _loads(self.connection.rest())
        finally:
            self.close()

    def close(self) -> None:
        self.connection.close()


class Client:
    """Speaks to one daemon. `version` is negotiated on first use unless it was given. `headers` go with all."""

    def __init__(self, address: Address, version: str = "", headers: dict[str, str] | None = None) -> None:
        self.address = address
        self._version = version
        self._headers = {"Host": address.host or "corten", **(headers or {}), "User-Agent": USER_AGENT}
        self._kept: Connection | None = None
        self.ping: dict[str, str] = {}

    def beside(self) -> Client:
        """Another one to the same daemon, whose requests do not wait for this one's."""
        made = Client(self.address, self.version)
        made._headers = self._headers
        return made

    @property
    def ours(self) -> bool:
        """Whether it is an engine of ours, by what it calls itself."""
        if not self.ping:  # the version was given
            self._negotiate()
        return self.ping.get("server", "").startswith(_OURS)

    @property
    def version(self) -> str:
        """The API version both sides speak, "1.50" at most."""
        if not self._version:
            self._version = self._negotiate()
        return self._version

    def at_least(self, version: str) -> bool:
        return version_key(self.version) >= version_key(version)

    def call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """One short request; the answer's JSON, or None when there is no body. Raises ApiError from status 400 on."""
        return self.exchange(method, path, query, body, headers)[1]

    def exchange(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[http.Head, Any]:
        """Like `call`, with the head of the answer (status 304 and headers matter to some callers)."""
        target = self._target(path, query)
        connection = self._short()
        head = self._send(connection, method, target, body, headers)
        content = connection.rest()
        _raise_for(head, content)
        if content and head.headers.get("content-type", "").startswith("application/json"):
            return head, _loads(content)
        return head, None

    def raw(self, method: str, path: str, query: Query | None = None) -> bytes:
        """Like `call`, with the body of the answer as it came. Raises ApiError."""
        target = self._target(path, query)
        connection = self._short()
        head = self._send(connection, method, target, None, None)
        content = connection.rest()
        _raise_for(head, content)
        return content

    def stream(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """A request whose answer takes its time, on a connection of its own. Raises ApiError from status 400 on."""
        target = self._target(path, query)
        return self.receive(self.begin(method, target, body, headers), method)

    def begin(self, method: str, target: str, body: Any, headers: dict[str, str] | None) -> Connection:
        """Send a request on a new connection without waiting for the head; `receive` reads it."""
        connection = Connection(self.address)
        try:
            self._transmit(connection, method, target, body, headers)
        except BaseException:
            connection.close()
            raise
        return connection

    def receive(self, connection: Connection, method: str) -> Answer:
        """The answer to a request that was sent by `begin`. Raises ApiError from status 400 on."""
        try:
            head = connection.receive_head(method)
            if head.status >= 400:
                _raise_for(head, connection.rest())
        except BaseException:
            connection.close()
            raise
        return Answer(connection, head)

    def upgrade(self, path: str, query: Query | None = None, body: Any = None, protocol: str = "tcp") -> Upgraded:
        """POST with `Upgrade`; the raw stream behind 101, or behind 200 from daemons that skip the upgrade."""
        headers = {"Connection": "Upgrade", "Upgrade": protocol}
        answer = self.stream("POST", path, query, body, headers)
        sock, early = answer.connection.detach()
        return Upgraded(sock, early, answer.head.headers.get("content-type", ""))

    def another(self) -> Client:
        """The same daemon on connections of its own, for another thread."""
        found = Client(self.address, self.version)
        found._headers, found.ping = self._headers, self.ping
        return found

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def interrupt(self) -> None:
        """From another thread: what waits for a short answer finds its connection ended."""
        if (kept := self._kept) is not None:
            kept.shutdown()

    def _negotiate(self) -> str:
        connection = self._short()
        head = self._send(connection, "HEAD", f"{self.address.base}/_ping", None, None)
        connection.rest()
        self.ping = head.headers
        theirs = head.headers.get("api-version", SILENT_VERSION)
        return min(theirs, MAX_VERSION, key=version_key)

    def _target(self, path: str, query: Query | None) -> str:
        return f"{self.address.base}/v{self.version}{path}{http.query(query or {})}"

    def target(self, path: str, query: Query | None) -> str:
        """The request target of `path` at the negotiated version."""
        return self._target(path, query)

    def _short(self) -> Connection:
        if self._kept is None or not self._kept.idle():
            self.close()
            self._kept = Connection(self.address)
        return self._kept

    def _send(
        self, connection: Connection, method: str, target: str, body: Any, headers: dict[str, str] | None
    ) -> http.Head:
        self._transmit(connection, method, target, body, headers)
        return connection.receive_head(method)

    def _transmit(
        self, connection: Connection, method: str, target: str, body: Any, headers: dict[str, str] | None
    ) -> None:
        """A dict or list goes as JSON; bytes and iterables of bytes go as they are."""
        all_headers = {**self._headers, **(headers or {})}
        data: bytes | Iterable[Data] = b""
        if isinstance(body, dict | list):
            data = quickjson.dumps(body).encode()
            all_headers.setdefault("Content-Type", "application/json")
        elif body is not None:
            data = body
            all_headers.setdefault("Content-Type", "application/x-tar")
        connection.send(method, target, all_headers, data)


def version_key(version: str) -> tuple[int, ...]:
    """ "1.9" sorts before "1.24"."""
    try:
        return tuple(int(part) for part in version.split("."))
    except ValueError:
        raise BadAnswer(f"{version!r} is not an API version") from None


def checked(document: Json) -> Json:
    """A document of a progress stream, unless it carries an error. Raises StreamError then."""
    detail = document.get("errorDetail")
    if detail:
        said = detail.get("message") if isinstance(detail, dict) else detail
        raise StreamError(str(said or document.get("error") or "unknown error"))
    if document.get("error"):
        raise StreamError(str(document["error"]))
    return document


def _loads(data: bytes) -> Any:
    try:
        return quickjson.loads(data)
    except ValueError:
        raise BadAnswer(f"the daemon's answer is not JSON: {data[:80]!r}") from None


def _object(data: bytes) -> Json:
    document = _loads(data)
    if not isinstance(document, dict):
        raise BadAnswer(f"the daemon's answer has something that is no JSON object: {data[:80]!r}")
    return document


def _raise_for(head: http.Head, content: bytes) -> None:
    if head.status < 400:
        return
    text = content.decode("utf-8", "replace").strip()
    if head.headers.get("content-type", "").startswith("application/json"):
        try:
            text = str(quickjson.loads(content)["message"])
        except (ValueError, KeyError, TypeError):
            pass
    raise ApiError(head.status, text or f"{head.status} {head.reason}")
