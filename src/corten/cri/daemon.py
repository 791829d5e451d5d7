"""Requests to the daemon, typed: REST over its unix socket.

    daemon = Daemon("/run/corten/corten.sock")
    pod = await daemon.ask("GET", "/pods/ID/json", PodSandboxStatus)
    reader, writer = await daemon.upgrade("/exec/ID/start", body)

Errors are those of the engine, by the status of the answer; Unavailable where there is no daemon.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import aiohttp
import msgspec

from corten import errors
from corten.client.http import parse_head, quote, request
from corten.errors import CortenError, Failed, Unavailable

T = TypeVar("T")
Json = dict[str, Any]
_CLASSES: Mapping[int, type[CortenError]] = {
    304: errors.NotModified,
    400: errors.Invalid,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    501: errors.Unsupported,
    503: errors.Unavailable,
}
_HEAD = 1 << 18  # bytes
_UPGRADE = {"Host": "corten", "Connection": "Upgrade", "Upgrade": "tcp", "Content-Length": "0"}
_LINE = 16 << 20  # bytes of one JSON message in a stream


class Daemon:
    def __init__(self, socket: str) -> None:
        self._socket = socket
        limits = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket, limit=0), timeout=limits)

    async def close(self) -> None:
        await self._session.close()

    async def ask(self, method: str, path: str, kind: type[T], body: object = None, query: Mapping[str, str] = {}) -> T:
        """The answer as a `kind`."""
        data = b"" if body is None else msgspec.json.encode(body)
        async with self._response(method, path, data, query) as response:
            text = await response.read()
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.DecodeError as error:
            raise Failed(f"the daemon's answer to {path} cannot be read: {error}") from error

    async def do(self, method: str, path: str, body: object = None, query: Mapping[str, str] = {}) -> None:
        """A request whose answer is empty, or is not looked at."""
        data = b"" if body is None else msgspec.json.encode(body)
        async with self._response(method, path, data, query) as response:
            await response.read()

    async def messages(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str] = {}
    ) -> AsyncIterator[Json]:
        """The JSON objects of an answer that goes on, a line each."""
        async with self._response(method, path, b"", query, headers) as response:
            rest = b""
            async for piece in response.content.iter_any():
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > _LINE:
                    raise Failed(f"the daemon's answer to {path} has no end")
                for line in filter(None, map(bytes.strip, lines)):
                    yield msgspec.json.decode(line)

    async def upgrade(self, path: str, body: object = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """POST, and the connection as a stream that is the caller's to close."""
        data = b"" if body is None else msgspec.json.encode(body)
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket, limit=_HEAD)
        except OSError as error:
            raise Unavailable(f"the daemon at {self._socket} does not answer: {error}") from error
        try:
            headers = {**_UPGRADE, "Content-Length": str(len(data))}
            if data:
                headers["Content-Type"] = "application/json"
            writer.write(request("POST", path, headers) + data)
            await writer.drain()
            parsed = parse_head(await reader.readuntil(b"\r\n\r\n"))
            assert parsed is not None
            head = parsed[0]
            if head.status != 101:
                length = int(head.headers.get("content-length", "0"))
                raise _error(head.status, await reader.readexactly(min(length, _HEAD)))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            writer.close()
            raise Unavailable(f"the daemon does not answer {path}: {error}") from error
        except BaseException:
            writer.close()
            raise
        return reader, writer

    async def dial(self, pod: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a port of a pod, in the pod's network: its descriptor comes over the daemon's socket."""
        sock = socket.socket(socket.AF_UNIX)
        with sock:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_connect(sock, self._socket)
                await loop.sock_sendall(sock, request("POST", f"/pods/{part(pod)}/dial?port={port}", _UPGRADE))
                fd = await _descriptor(sock)
            except OSError as error:
                raise Unavailable(f"the daemon at {self._socket} does not answer: {error}") from error
        return await asyncio.open_connection(sock=socket.socket(fileno=fd))

    @asynccontextmanager
    async def _response(
        self, method: str, path: str, data: bytes, query: Mapping[str, str], headers: Mapping[str, str] = {}
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if data:
            headers = {**headers, "Content-Type": "application/json"}
        url = f"http://corten{path}"
        try:
            async with self._session.request(
                method, url, params=dict(query), data=data or None, headers=dict(headers)
            ) as response:
                if response.status >= 300:
                    raise _error(response.status, await response.read())
                yield response
        except aiohttp.ClientError as error:
            raise Unavailable(f"the daemon at {self._socket} does not answer: {error}") from error


async def _descriptor(sock: socket.socket) -> int:
    """What comes behind the answer's head, with one byte. Raises the answer's error."""
    data = b""
    while True:
        await readable(sock)
        piece, fds, _, _ = socket.recv_fds(sock, 1 << 12, 1, socket.MSG_CMSG_CLOEXEC)
        data += piece
        if fds:
            return fds[0]
        if not piece or len(data) > _HEAD:
            raise Unavailable("the daemon has not answered")
        parsed = parse_head(data)
        if parsed is None:
            continue
        head, end = parsed
        if head.status != 101 and len(data) - end >= int(head.headers.get("content-length", "0")):
            raise _error(head.status, data[end:])


async def readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)


def part(name: str) -> str:
    """A name or id as a part of a path. Raises NotFound for one that would lead elsewhere."""
    if not name:
        raise errors.NotFound("an empty id names nothing")
    if not {".", ".."}.isdisjoint(name.split("/")):
        raise errors.NotFound(f"{name[:200]} names nothing")
    return quote(name, b"/:@")


def _error(status: int, body: bytes) -> CortenError:
    text = body.decode(errors="replace").strip()
    with suppress(ValueError, AttributeError):
        text = json.loads(body).get("message") or text
    return _CLASSES.get(status, Failed)(text or f"HTTP {status}")
