"""`corten cri`, where daemon.json asks for it: a process of its own, which this daemon keeps running.

It goes on when the daemon is killed, and so do the streams through it; the next daemon finds it at its socket. It ends
with a daemon that ends in order. One that has ended is started again, after a pause when it did not run for long.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corten.daemon import cri
from corten.daemon.config import Config
from corten.daemon.sockets import Listener
from corten.errors import CortenError, Invalid
from corten.tasks import program
from corten.tasks.launcher import Launcher
from corten.tasks.program import Program

log = logging.getLogger("cortend")
_AGAIN, _AGAIN_AT_MOST = 0.5, 30.0  # seconds
_LONG = 10.0  # seconds after which an end is no failed start
_LAST_PATIENCE = 10.0  # seconds
_LONGEST = 107  # bytes (unix(7))
_STANDARD_ERROR = 2


class Kubernetes:
    def __init__(self, launcher: Launcher, place: Path, arguments: Sequence[str]) -> None:
        self._launcher = launcher
        self._place = place
        self._arguments = arguments
        self._program: Program | None = None
        self._keeping: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._keeping = asyncio.ensure_future(self._keep())

    async def close(self) -> None:
        """Its end is asked for, and waited for."""
        if self._keeping is None:
            return
        self._keeping.cancel()
        await asyncio.wait([self._keeping])
        if self._program is None:
            return
        self._program.terminate()
        try:
            async with asyncio.timeout(_LAST_PATIENCE):
                await self._program.ended()
        except TimeoutError:
            log.warning("corten cri, process %d, has not ended yet", self._program.pid)
        self._program.close()

    async def _keep(self) -> None:
        delay, loop = _AGAIN, asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                self._program = await program.listening(self._place) or await self._begin()
                await self._program.ended()
                log.warning("corten cri, process %d, has ended: it is started again", self._program.pid)
                self._program.close()
                self._program = None
            except CortenError as error:
                log.error("corten cri cannot be started: %s", error)
            if loop.time() - began >= _LONG:
                delay = _AGAIN
                continue
            await asyncio.sleep(delay)
            delay = min(2 * delay, _AGAIN_AT_MOST)

    async def _begin(self) -> Program:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
        begun = await program.execute(self._launcher, self._arguments, environment, _STANDARD_ERROR)
        log.info("corten cri is process %d, unix://%s", begun.pid, self._place)
        return begun


def configured(config: Config, launcher: Launcher, listening: Sequence[Listener]) -> Kubernetes:
    """As `config.cri` says. Raises Invalid when the daemon listens on no unix socket, or `socket` cannot be one."""
    given: Mapping[str, Any] = config.cri
    own = next(filter(None, map(_unix, listening)), "")
    if not own and "daemon" not in given:
        raise Invalid("cri: start needs a unix socket of this daemon's among hosts")
    settings = {"socket": str(config.exec_root / "cri.sock"), "daemon": own, **given}
    place = Path(str(settings["socket"]).removeprefix("unix://"))
    if len(os.fsencode(place)) > _LONGEST:
        raise Invalid(f"cri: socket {place}: the path of a unix socket has at most {_LONGEST} bytes")
    flags = [f"--{name}={settings[name]}" for name in cri.OTHERS if name in settings]
    command = [sys.executable, "-I", "-m", "corten.cri", *flags, *(["--debug"] if config.debug else [])]
    return Kubernetes(launcher, place, command)


def _unix(listener: Listener) -> str:
    """Its address, "" for one that is no unix socket with a path."""
    if listener.address.startswith("unix://"):
        return listener.address
    if listener.socket.family != socket.AF_UNIX:
        return ""
    name = listener.socket.getsockname()  # of one that was passed: who bound it did so by its path
    return f"unix://{name}" if isinstance(name, str) and name.startswith("/") else ""
