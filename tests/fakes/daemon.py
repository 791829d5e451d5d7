"""A `PlainEngine` behind a unix socket, in a thread of its own, for clients that block."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from corten.api.server import Api
from fakes.engine import PlainEngine
from fakes.program import end_programs


class Daemon:
    """Used as a context manager; `address` is for DOCKER_HOST."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = str(root / "s")
        self.address = f"unix://{self.socket}"
        self.engine: PlainEngine
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._run)
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    def __enter__(self) -> Daemon:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with self._runner:  # which cancels what a busy machine has not ended in the time of `shutdown`
            self._runner.run(self._serve())

    async def _serve(self) -> None:
        self.engine = PlainEngine(self.root)
        await self.engine.open()
        api = Api(self.engine, lambda: self.engine.builds, self.engine.buildkit)
        server = await self._loop.create_unix_server(api, self.socket)
        self._ready.set()
        await self._stop.wait()
        server.close()
        await api.shutdown(1)
        await end_programs()
        await self.engine.close()
        await end_programs()  # of a restart that was under way

    def answers(self) -> bool:
        connection = Connection(self)
        try:
            return connection.ask("GET", "/_ping") == (200, "OK")
        finally:
            connection.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the daemon's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


def received(connection: socket.socket, count: int) -> bytes:
    """So many bytes, or less at the end of all."""
    data = b""
    while len(data) < count and (piece := connection.recv(count - len(data))):
        data += piece
    return data


class Connection(http.client.HTTPConnection):
    """One kept-alive connection to the daemon."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__("docker", timeout=20)
        self._path = daemon.socket

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self._path)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded JSON (or text) of one request; a body that is no bytes is sent as JSON."""
        data = body
        if body is not None and not isinstance(body, bytes):
            data, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        self.request(method, path, data, headers)
        answer = self.getresponse()
        text = answer.read()
        self.headers = answer.headers
        is_json = (answer.headers.get("Content-Type") or "").startswith("application/json")
        return answer.status, _decoded(text) if text and is_json else text.decode()


def _decoded(text: bytes) -> Any:
    """One document, or the list of several, one a line."""
    lines = text.splitlines()
    return json.loads(text) if len(lines) == 1 else [json.loads(line) for line in lines]
