"""gRPC over HTTP/2: messages with a length before each, a status at the end. Both roles.

    answer = await unary(channel, "/package.Service/Method", request, metadata)      # as the client
    await serve(fd, early, {"/package.Service/Method": function}, window)            # as the server

A function gets a `Call` and reads and sends messages as bytes; what it raises is the call's status.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
import struct
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from corten import errors
from corten.http2 import frames as f
from corten.http2.channel import Channel, Stream, StreamReset, over_socket
from corten.http2.connection import Connection, Header
from corten.units.durations import in_go

log = logging.getLogger(__name__)
LARGEST = 16 << 20  # bytes of a message

OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND = 0, 1, 2, 3, 4, 5
PERMISSION_DENIED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 7, 8, 9, 12, 13, 14
UNAUTHENTICATED = 16
_CODES: tuple[tuple[type[errors.CortenError], int], ...] = (
    (errors.NotFound, NOT_FOUND),
    (errors.Invalid, INVALID_ARGUMENT),
    (errors.Conflict, FAILED_PRECONDITION),
    (errors.Forbidden, PERMISSION_DENIED),
    (errors.Unauthorized, UNAUTHENTICATED),
    (errors.Unavailable, UNAVAILABLE),
    (errors.Unsupported, UNIMPLEMENTED),
    (errors.Exhausted, RESOURCE_EXHAUSTED),
)
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])\Z")
_TYPE = "application/grpc"
_PREFIX = struct.Struct(">BI")  # of a message: whether it is compressed, and its length


class Status(Exception):
    """The end of a call that is no success. `details` is a serialised google.rpc.Status, or nothing."""

    def __init__(self, code: int, message: str, details: bytes = b"") -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class Cut:
    """Bytes in, messages out. Raises Status for one that is too large, or compressed."""

    def __init__(self, limit: int = LARGEST) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._needed = 0  # bytes of it and what comes, before there is anything to cut

    def feed(self, data: bytes) -> list[bytes]:
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        found, at, size, self._needed = [], 0, len(data), 5
        while size - at >= 5:
            compressed, length = _PREFIX.unpack_from(data, at)
            if compressed:
                raise Status(UNIMPLEMENTED, "compressed messages are not supported")
            if length > self._limit:
                raise Status(RESOURCE_EXHAUSTED, f"a message of {length} bytes: {self._limit} are allowed")
            end = at + 5 + length
            if end > size:
                self._needed += length
                break
            found.append(data[at + 5 : end])
            at = end
        if at < size:
            self._rest += memoryview(data)[at:]
        return found

    @property
    def partial(self) -> int:
        """Bytes of a message that is not whole yet."""
        return len(self._rest)


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


class Call:
    """A stream with its messages. `metadata` are the peer's headers, with all values of a name in their order.

    What is kept of messages counts against the connection's budget until it is given out, or the call `close`d.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.metadata = metadata(stream.headers)
        self._cut = Cut()
        self._waiting: list[bytes] = []
        self._kept = 0  # bytes

    async def receive(self) -> bytes | None:
        """The next message, None at the end. Raises Status, StreamReset, Unavailable."""
        while not self._waiting:
            data = await self.stream.read()
            if not data:
                return None
            self._waiting = self._cut.feed(data)[::-1]
            self._keep(self._cut.partial + sum(map(len, self._waiting)))
        message = self._waiting.pop()
        self._keep(self._kept - len(message))
        return message

    def _keep(self, size: int) -> None:
        if not self.stream.budget.take(size - self._kept):
            raise Status(RESOURCE_EXHAUSTED, "more bytes of messages than a connection may have under way")
        self._kept = size

    async def send(self, message: bytes, end: bool = False) -> None:
        await self.stream.write(framed(message), end)

    async def request(self) -> bytes:
        """The one message of a call that has one; it is kept, as what it becomes is, to the call's end."""
        message = await self.receive() or b""
        self._keep(self._kept + len(message))
        return message

    def close(self) -> None:
        """Nothing is kept any more."""
        self._cut = Cut()
        self._waiting.clear()
        self._keep(0)


def metadata(headers: Sequence[Header]) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return found


# ------------------------------------------------------------------------------------------------------ as the client


@asynccontextmanager
async def calling(channel: Channel, path: str, metadata: Sequence[Header] = ()) -> AsyncIterator[Call]:
    """A stream of messages both ways; what is left of it at the end is cancelled."""
    head = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    head += [("content-type", _TYPE), ("te", "trailers"), ("user-agent", "corten"), *metadata]
    call = Call(channel.open(head))
    try:
        yield call
    finally:
        call.close()
        call.stream.reset()


async def unary(
    channel: Channel, path: str, request: bytes, metadata: Sequence[Header] = (), seconds: float | None = None
) -> bytes:
    """Raises Status, with DEADLINE_EXCEEDED when there is no answer in time; Unavailable when the peer has gone."""
    try:
        async with asyncio.timeout(seconds), calling(channel, path, metadata) as call:
            await call.send(request, end=True)
            answer = await call.receive()
            while answer is not None and await call.receive() is not None:
                raise Status(INTERNAL, "two answers to one request")
            finish(call.stream)
            if answer is None:
                raise Status(INTERNAL, "no answer")
            return answer
    except TimeoutError:
        limit = "" if seconds is None else f" in {in_go(seconds)}"
        raise Status(DEADLINE_EXCEEDED, f"no answer to {path}{limit}") from None
    except StreamReset as reset:
        raise Status(UNAVAILABLE, f"{path}: {reset}") from None


def finish(stream: Stream) -> None:
    """Raises Status unless the peer's trailers, which have come, say OK."""
    found = dict(stream.trailers)
    code = found.get("grpc-status", "")
    if code == "0":
        return
    if not (code.isascii() and code.isdigit()) or len(code) > 4:
        raise Status(UNKNOWN, f"an answer without a status: HTTP {dict(stream.headers).get(':status', '')[:10]}")
    message = urllib.parse.unquote(found.get("grpc-message", ""))[:4096]
    raise Status(int(code), message, _binary(found.get("grpc-status-details-bin", "")))


def _binary(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


# ------------------------------------------------------------------------------------------------------ as the server

Function = Callable[[Call], Awaitable[bytes | None]]  # the answer, where it is one; others were sent


class Serving:
    """Answers the calls of one connection. `close` ends those that are under way."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions
        self._tasks: set[asyncio.Task[None]] = set()

    def on_stream(self, stream: Stream) -> None:
        if len(self._tasks) >= 2 * _CALLS:  # cancelled ones are still ending
            stream.reset(f.REFUSED_STREAM)
            return
        task = asyncio.create_task(self._serve(stream), name="grpc call")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        stream.on_reset = task.cancel

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _serve(self, stream: Stream) -> None:
        code, message, details = OK, "", b""
        call = Call(stream)
        try:
            if not call.metadata.get("content-type", ("",))[0].startswith(_TYPE):
                await _refuse(stream)
                return
            await self._answer(call)
        except asyncio.CancelledError:
            stream.reset()
            raise
        except StreamReset:
            return
        except Status as status:
            code, message, details = status.code, str(status), status.details
        except errors.CortenError as error:
            code, message = status_code(error), str(error)
        except TimeoutError:
            code, message = DEADLINE_EXCEEDED, "context deadline exceeded"
        except OSError as error:
            code, message = UNKNOWN, str(error)
        except Exception as error:
            log.error("unhandled exception in a call", exc_info=error)
            code, message = INTERNAL, "internal error"
        finally:
            call.close()
            stream.on_reset = _nothing  # what was cancelled keeps its frames, those the stream, and it the task
        self._finish(stream, code, message, details)

    async def _answer(self, call: Call) -> None:
        path = call.metadata.get(":path", ("",))[0]
        function = self._functions.get(path)
        if function is None:
            raise Status(UNIMPLEMENTED, f"unknown method {path[:200]}")
        async with asyncio.timeout(_seconds(call.metadata)):
            answer = await function(call)
        if answer is not None:
            begin(call.stream)
            await call.send(answer)

    def _finish(self, stream: Stream, code: int, message: str, details: bytes) -> None:
        begin(stream)
        trailers = [("grpc-status", str(code))]
        if message:
            trailers.append(("grpc-message", urllib.parse.quote(message[:_MESSAGE], safe=_PLAIN, errors="replace")))
        if details and len(details) <= _DETAILS:
            trailers.append(("grpc-status-details-bin", base64.b64encode(details).decode().rstrip("=")))
        stream.head(trailers, end=True)
        stream.reset(f.NO_ERROR)  # the rest of the request, if there is one, is of no use


async def serve(fd: int, early: bytes, functions: Mapping[str, Function], window: int) -> None:
    """Answer the calls of a connection until it ends; `fd` and `early` as of `over_socket`. `window`: bytes of each
    request under way."""
    ended = asyncio.Event()
    serving = Serving(functions)
    try:
        connection = Connection(client=False, window=window)
        channel = await over_socket(fd, early, connection, serving.on_stream, ended.set)
        try:
            await ended.wait()
        finally:
            channel.close()
    finally:
        await serving.close()


def _nothing() -> None:
    pass


async def _refuse(stream: Stream) -> None:
    """What is asked for is no gRPC (its document PROTOCOL-HTTP2, "Requests")."""
    stream.head([(":status", "415"), ("content-type", "text/plain; charset=utf-8")])
    await stream.write(b"only gRPC is served by HTTP/2 here: the REST API is HTTP/1.1\n", end=True)
    stream.reset(f.NO_ERROR)


_CALLS = 100
_MESSAGE = 8 << 10  # characters of a status
_DETAILS = 512 << 10  # Go's clients take 16 MiB of headers
_PLAIN = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


def begin(stream: Stream, metadata: Sequence[Header] = ()) -> None:
    """Send the answer's headers, once."""
    if not stream.begun_answer:
        stream.begun_answer = True
        stream.head([(":status", "200"), ("content-type", _TYPE), *metadata])


def status_code(error: errors.CortenError) -> int:
    return next((code for kind, code in _CODES if isinstance(error, kind)), UNKNOWN)


def _seconds(found: Mapping[str, Sequence[str]]) -> float | None:
    match = _TIMEOUT.match(found.get("grpc-timeout", ("",))[0])
    return int(match[1]) * _UNITS[match[2]] if match else None
