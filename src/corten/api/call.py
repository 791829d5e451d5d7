"""One request as a route's function sees it: path parameters, query, body, version; and the answers it can give."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import urllib.parse
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec
from aiohttp import HttpVersion11, StreamReader, web

from corten import __version__
from corten.api.errors import BodyTimeout, TooLarge
from corten.api.versions import Version
from corten.engine.engine import Engine
from corten.engine.system import API_VERSION
from corten.errors import Invalid, Unsupported
from corten.http.heads import invite
from corten.plan.validate.counts import check_counts
from corten.spec import go_json
from corten.spec.docker import times
from corten.spec.docker.auth import AuthConfig
from corten.spec.docker.decode import decode
from corten.spec.docker.filters import Filters
from corten.spec.docker.struct import Struct
from corten.spec.json import Json
from corten.units.durations import in_go

if TYPE_CHECKING:
    from corten.build.builds import Builds
    from corten.build.contexts import Context
    from corten.build.contract import Client, Event
    from corten.build.outputs.contract import Sink
    from corten.machines.machines import Machines

S = TypeVar("S", bound=Struct)
MAX_BODY = 4 << 20
MAX_DEPTH = 200
_MUCH = 1 << 16  # bytes of JSON that are not decoded on the event loop: the largest take 0.3 s
PATIENCE = 300.0  # seconds for the next piece of a request's body
#: On every answer.
HEADERS = {
    "Api-Version": API_VERSION,
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"Corten/{__version__} (linux)",
}
_JSON_TYPE = re.compile(r"application/json\s*(;|\Z)", re.IGNORECASE)
_AUTH = "X-Registry-Auth"
_STANDARD = str.maketrans("-_", "+/")
_FALSE = frozenset({"", "0", "no", "false", "none"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")
_encoder = msgspec.json.Encoder()


class Upload(Protocol):
    """A context that comes in a request of its own: `body`, of which that request waits until it is `taken`."""

    body: AsyncIterator[bytes]
    taken: asyncio.Event


class BuildKit(Protocol):
    """What BuildKit's clients ask for (`corten.buildkit.faces.Faces`); it is there once one has come."""

    async def session(self, fd: int, early: bytes, headers: Sequence[tuple[str, str]]) -> None: ...

    async def grpc(self, fd: int, early: bytes) -> None: ...

    def client(self, session: str, context: Context | None = None) -> AbstractAsyncContextManager[Client]: ...

    async def sink(self, session: str) -> Sink: ...

    def encode(self, events: Sequence[Event]) -> Sequence[str]: ...

    async def uploaded(self, id: str) -> Upload: ...

    async def upload(self, id: str, body: AsyncIterator[bytes]) -> None: ...


class Call:
    """A request that was routed. Everything that reads from it raises Invalid for nonsense."""

    __slots__ = ("_buildkit", "_builds", "_machines", "engine", "path", "query", "request", "version")

    def __init__(
        self,
        request: web.BaseRequest,
        engine: Engine,
        builds: Callable[[], Builds],
        buildkit: Callable[[], BuildKit],
        version: Version,
        path: Mapping[str, str],
        machines: Callable[[], Machines] | None = None,
    ) -> None:
        self._machines = machines
        self.request = request
        self.engine = engine
        self._builds = builds
        self._buildkit = buildkit
        self.version = version
        self.path = path
        self.query = request.rel_url.query

    @property
    def machines(self) -> Machines:
        if self._machines is None:
            raise Unsupported("this daemon has no virtual machines")
        return self._machines()

    @property
    def builds(self) -> Builds:
        return self._builds()

    @property
    def buildkit(self) -> BuildKit:
        return self._buildkit()

    def text(self, name: str, default: str = "") -> str:
        return self.query.get(name, default)

    def file_name(self, name: str) -> str:
        """A path in a container, which need not be UTF-8: other bytes are surrogate escapes, as os.fsencode takes
        them."""
        pairs = urllib.parse.parse_qsl(
            self.request.rel_url.raw_query_string, keep_blank_values=True, errors="surrogateescape"
        )
        return next((value for key, value in pairs if key == name), "")

    def flag(self, name: str, default: bool = False) -> bool:
        """Docker's idea of a boolean: anything but "", 0, no, false and none is true."""
        value = self.query.get(name)
        return default if value is None else value.strip().lower() not in _FALSE

    def integer(self, name: str, default: int | None = None) -> int | None:
        value = self.query.get(name)
        if value is None or value == "":
            return default
        if not _INTEGER.match(value):
            raise Invalid(f'invalid value for {name}: "{value}" is not a number')
        return int(value)

    def time(self, name: str) -> int:
        """Nanoseconds since the epoch; 0 when it is not given."""
        value = self.query.get(name, "")
        return times.parse_time(value) if value not in ("", "0") else 0

    def moment(self, name: str) -> int | None:
        """Nanoseconds since the epoch, which 0 is; None when it is not given."""
        value = self.query.get(name, "")
        return times.parse_time(value) if value else None

    def filters(self) -> Filters:
        """The query's `filters`: {"key": ["value"]}, or {"key": {"value": true}} from old clients."""
        return decode_filters(self.query.get("filters", ""))

    def descriptor(self) -> int:
        """Of the client's connection, where an answer in chunks can be sent on it (HTTP/1.1); -1 for another one, and
        when it has ended."""
        transport = self.request.transport
        if transport is None or transport.is_closing() or self.request.version < HttpVersion11:
            return -1
        found: int = transport.get_extra_info("socket").fileno()
        return found

    async def body(self, struct: type[S], optional: bool = False) -> S:
        """The structure in the JSON body, of the request's API version.

        Raises Invalid for another type, for more entries than `plan.validate.counts` has and, unless `optional`,
        without a body; TooLarge.
        """
        data = await read_body(self.request)
        if data or self.request.headers.get("Content-Type"):
            check_json_type(self.request.headers.get("Content-Type", ""), bool(data))
        if not data.strip():
            if optional:
                return struct()
            raise Invalid("invalid JSON: got EOF while reading request body")
        if len(data) > _MUCH:
            return await asyncio.to_thread(_decoded, struct, data, self.version)
        return _decoded(struct, data, self.version)

    def registry_auth(self) -> AuthConfig:
        """X-Registry-Auth, which is base64url JSON; empty credentials without the header. Raises Invalid."""
        return decode(AuthConfig, decode_header(self.request, _AUTH) or None)


def decode_header(request: web.BaseRequest, name: str) -> Json:
    """The JSON object of a header in base64url; empty without the header. Raises Invalid."""
    value = request.headers.get(name, "")
    try:
        # Both alphabets: some clients send the ordinary one.
        text = value.translate(_STANDARD).rstrip("=")
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(f"invalid {name} header: not base64url") from None
    return decode_object(data) if data.strip() else {}


async def upload(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """The body as it comes, from a client that may wait for 100 Continue. To be called once.

    Raises BodyTimeout when nothing of it comes for `PATIENCE` seconds.
    """
    invite(request)
    content = request.content
    while not content.at_eof():
        if piece := content.read_nowait() or await _next_piece(content):
            yield piece


async def _next_piece(content: StreamReader) -> bytes:
    """b"" at the end."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await content.readany()
    except TimeoutError:
        raise BodyTimeout(f"nothing has come of the request's body for {in_go(PATIENCE)}") from None


async def read_body(request: web.BaseRequest, limit: int = MAX_BODY) -> bytes:
    """The whole body. Raises TooLarge above `limit` bytes, without reading further."""
    if (request.content_length or 0) > limit:
        raise TooLarge(f"request body too large: the limit is {limit} bytes")
    pieces, size = [], 0
    async for piece in upload(request):
        size += len(piece)
        if size > limit:
            raise TooLarge(f"request body too large: the limit is {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _decoded(struct: type[S], data: bytes, version: Version) -> S:
    found = decode(struct, decode_object(data), version)
    check_counts(found)
    return found


def check_json_type(content_type: str, has_body: bool) -> None:
    """Docker takes no other type for JSON: a form that a browser posts is refused here."""
    if not content_type:
        if has_body:
            raise Invalid("malformed Content-Type header (): mime: no media type")
        return
    if not _JSON_TYPE.match(content_type.strip()):
        raise Invalid(f"unsupported Content-Type header ({content_type}): must be 'application/json'")


def decode_object(data: bytes) -> Json:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # Go takes what msgspec does not: lone surrogates, bytes that are no UTF-8, numbers of any size
        value = go_json.value(data, "invalid JSON: the body")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid("invalid JSON: the body must be an object")
    return value


def decode_filters(text: str) -> Filters:
    if not text:
        return Filters()
    try:
        return Filters(msgspec.json.decode(text, type=dict[str, list[str]]))
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        old = msgspec.json.decode(text, type=dict[str, dict[str, bool]])
    except (msgspec.DecodeError, RecursionError):
        raise Invalid(f"invalid filter: {text[:200]}") from None
    return Filters({key: [value for value, on in values.items() if on] for key, values in old.items()})


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    body = encode_line(value)
    return web.Response(status=status, body=body, headers=headers, content_type="application/json")


def empty(status: int = 204, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, headers=headers)


def encode(value: object) -> bytes:
    """As JSON. A name that is not UTF-8 (of a file in a container) has U+FFFD in it, as Go's encoder writes it."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))
        return go_json.unicode(text).encode()


def encode_line(value: object) -> bytes:
    return encode(value) + b"\n"
