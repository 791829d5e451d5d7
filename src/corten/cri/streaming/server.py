"""The HTTP server of streams: one request, an upgrade, and a session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from corten.aio.taking import close
from corten.cri.daemon import Daemon
from corten.cri.streaming import channels as c
from corten.cri.streaming import websocket
from corten.cri.streaming.forwarding import PROTOCOL, TUNNELLED, Bytes, Forwarding, Plain, Tunnel
from corten.cri.streaming.sessions import Session
from corten.cri.streaming.tokens import Tokens
from corten.errors import CortenError, Invalid, NotFound, Unsupported
from corten.http.accepting import Accepting

log = logging.getLogger(__name__)
_HEAD = 1 << 16  # bytes
_BACKLOG = 128
_PATIENCE = 30.0  # seconds for a request
_MOST = 1000  # streams at the same time
_MOST_SILENT = 250  # connections at the same time that have not asked for anything


@dataclass(frozen=True, slots=True)
class Ports:
    """A port-forward."""

    pod: str
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    headers: Mapping[str, str]  # names in lower case

    def words(self, name: str) -> list[str]:
        return [word.strip() for word in self.headers.get(name, "").split(",") if word.strip()]


class Streaming:
    """`url` is what a client is given for what it may ask."""

    def __init__(self, daemon: Daemon, address: str, port: int) -> None:
        self._daemon = daemon
        self._address, self._port = address, port
        self._tokens: Tokens[Session | Ports] = Tokens()
        self._server: Accepting | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.Task[None], None] = {}  # those without a request, the oldest first

    async def open(self) -> None:
        """OSError when the address cannot be had."""
        bound = await asyncio.start_server(self._came, self._address, self._port, start_serving=False)
        sockets = [sock.dup() for sock in bound.sockets]
        bound.close()
        for sock in sockets:
            sock.listen(_BACKLOG)
        self._port = sockets[0].getsockname()[1]
        self._server = Accepting(sockets, self._connection)

    def _connection(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=_HEAD), self._came)

    def url(self, asked: Session | Ports) -> str:
        host = f"[{self._address}]" if ":" in self._address else self._address
        verb = "portforward" if isinstance(asked, Ports) else "exec" if asked.command else "attach"
        return f"http://{host}:{self._port}/{verb}/{self._tokens.put(asked)}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(task, reader, writer)
        except CortenError as error:
            with suppress(OSError):
                writer.write(_refused(error))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError) as error:
            log.debug("a stream has ended: %s", error)
        except asyncio.CancelledError:
            pass  # this process ends; asyncio's own server would log it as an error
        finally:
            self._tasks.discard(task)
            close(writer)

    async def _serve(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Every user of the machine can connect, and only some have an address: others keep nothing from them."""
        if len(self._silent) >= _MOST_SILENT:
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            oldest.cancel()
        self._silent[task] = None
        try:
            async with asyncio.timeout(_PATIENCE):
                request = _parse(await reader.readuntil(b"\r\n\r\n"))
        finally:
            self._silent.pop(task, None)
        asked = self._tokens.take(request.path.rpartition("/")[2].partition("?")[0])
        if len(self._tasks) - len(self._silent) > _MOST:
            raise Invalid(f"there are {_MOST} streams already")
        if isinstance(asked, Ports):
            carrier = await _carrier(request, reader, writer)
            await Forwarding(self._daemon, asked.pod, asked.ports, carrier).run()
            return
        await asked.run(self._daemon, await _channels(request, asked, reader, writer))


async def _channels(
    request: Request, asked: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> c.Channels:
    if _is(request, "websocket"):
        protocol = _websocket(request, writer, c.WEBSOCKETS)
        await writer.drain()
        return c.SocketChannels(reader, writer, protocol)
    _spdy(request, writer, c.SPDIES)
    wanted = {c.ERROR, c.STDIN if asked.stdin else c.ERROR, c.STDOUT if asked.stdout else c.ERROR}
    wanted |= {c.STDERR} if asked.stderr and not asked.tty else set()
    made = c.SpdyChannels(reader, writer, wanted | ({c.RESIZE} if asked.tty else set()))
    await made.open()
    return made


async def _carrier(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Bytes:
    if _is(request, "websocket"):
        _websocket(request, writer, (TUNNELLED,))
        return Tunnel(reader, writer)
    _spdy(request, writer, (PROTOCOL,))
    return Plain(reader, writer)


def _is(request: Request, upgrade: str) -> bool:
    return upgrade in [word.lower() for word in request.words("upgrade")]


def _websocket(request: Request, writer: asyncio.StreamWriter, known: tuple[str, ...]) -> str:
    """Answer; returns the protocol. Raises Unsupported, Invalid."""
    key = request.headers.get("sec-websocket-key", "")
    if not key:
        raise Invalid("a WebSocket request without a key")
    asked = request.words("sec-websocket-protocol")
    protocol = next((name for name in asked if name in known), None)
    if protocol is None:
        raise Unsupported(f"none of the protocols {', '.join(asked) or 'that were asked for'} is spoken here")
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Accept: {websocket.accept(key)}", f"Sec-WebSocket-Protocol: {protocol}"]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    return protocol


def _spdy(request: Request, writer: asyncio.StreamWriter, known: tuple[str, ...]) -> None:
    """The same for SPDY; without a protocol the client means the oldest."""
    if not _is(request, "spdy/3.1"):
        raise Invalid("an upgrade to SPDY/3.1 or a WebSocket is needed")
    asked = request.words("x-stream-protocol-version") or [known[-1]]
    protocol = next((name for name in known if name in asked), None)
    if protocol is None:
        raise Unsupported(f"none of the protocols {', '.join(asked)} is spoken here")
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: SPDY/3.1", "Connection: Upgrade"]
    writer.write("\r\n".join([*lines, f"X-Stream-Protocol-Version: {protocol}", "", ""]).encode())


def _parse(head: bytes) -> Request:
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or words[0] not in ("GET", "POST"):
        raise Invalid("not a request for a stream")
    headers: dict[str, str] = {}
    for line in lines[1:-2]:
        name, colon, value = line.partition(":")
        if not colon:
            raise Invalid("a header without a colon")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return Request(words[1], headers)


def _refused(error: CortenError) -> bytes:
    status = "404 Not Found" if isinstance(error, NotFound) else "400 Bad Request"
    body = f"{error}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body
