"""The process: its socket, and what is served on it until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from pathlib import Path

from corten.cri.config import Config
from corten.cri.daemon import Daemon
from corten.cri.images import Images
from corten.cri.runtime import Runtime
from corten.cri.stats import Stats
from corten.cri.streaming.server import Streaming
from corten.errors import Conflict, Invalid
from corten.http.accepting import Accepting
from corten.http2 import grpc
from corten.http2.grpc import Function

log = logging.getLogger("corten-cri")
_WINDOW = 1 << 20  # bytes of a request under way


class Face:
    """One gRPC server for each connection."""

    def __init__(self, functions: dict[str, Function]) -> None:
        self._functions = functions
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self) -> asyncio.BaseProtocol:
        return _Taken(self)

    def serve(self, fd: int) -> None:
        task = asyncio.ensure_future(grpc.serve(fd, b"", self._functions, _WINDOW))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


class _Taken(asyncio.Protocol):
    """Hands a connection on before anything is read from it."""

    def __init__(self, face: Face) -> None:
        self._face = face

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        fd = os.dup(transport.get_extra_info("socket").fileno())
        transport.abort()
        self._face.serve(fd)


async def serve(config: Config) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    daemon = Daemon(config.daemon)
    streaming = Streaming(daemon, config.address, config.port)
    await streaming.open()
    runtime = Runtime(daemon, streaming)
    face = Face(runtime.functions() | Images(daemon).functions() | Stats(daemon, runtime).functions())
    accepting = Accepting([listener(config.socket)], face)
    log.info("Kubernetes' interface listens on unix://%s, process %d", config.socket, os.getpid())
    await ended.wait()
    accepting.close()
    await face.close()
    await streaming.close()
    await daemon.close()


def listener(path: Path) -> socket.socket:
    """For root alone: who may call it has root's power. Raises Conflict when a process listens there, Invalid."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink()
            else:
                raise Conflict(f"another process listens on {path}")
    elif path.exists():
        raise Invalid(f"{path} is not a socket: remove it, or listen elsewhere")
    sock = socket.socket(socket.AF_UNIX)
    os.fchmod(sock.fileno(), 0o600)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:  # by descriptor: a socket's path must not be longer than 107 bytes
        sock.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)
    sock.listen(128)
    sock.setblocking(False)
    return sock
