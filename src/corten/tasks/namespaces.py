"""Network namespaces by way of the launcher."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from corten.engine.seams import IdMap, Namespace
from corten.errors import CortenError, Failed, NotFound
from corten.tasks.launcher import Launcher, exchange

Json = dict[str, Any]

log = logging.getLogger(__name__)

_NETLINK_NETFILTER = 12
_SPARE = 2  # namespaces kept ready once somebody has used one: making one takes 3 ms, a start altogether some 20


class LauncherNamespaces:
    """`engine.seams.NetworkNamespaces`."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._spare: deque[Namespace] = deque()
        self._filling: asyncio.Task[None] | None = None
        self._names = _has_netfilter()
        self._maker: socket.socket | None = None
        self._asking = asyncio.Lock()

    async def create(self, name: str, id_map: IdMap | None = None) -> Namespace:
        if id_map is not None:
            return await self._make(name, id_map)
        namespace = self._spare.popleft() if self._spare else await self._make(name, None)
        if self._filling is None or self._filling.done():
            self._filling = asyncio.ensure_future(self._fill())
        return namespace

    async def _make(self, name: str, id_map: IdMap | None) -> Namespace:
        request: Json = {"name": name, "names": self._names}
        if id_map is None:
            answer, fds = await self._ask_maker(request)
        else:
            maps = {"uids": id_map.uids, "gids": id_map.gids}
            answer, fds = await self._launcher.ask({"do": "make namespaces", "id_map": maps, **request}, [])
        if "error" in answer:
            raise Failed(f"cannot make a network namespace: {answer['error']['text']}")
        return _namespace(fds, self._names)

    async def _ask_maker(self, request: Json) -> tuple[Json, list[int]]:
        """By the process that makes them all, one after the other; a new one where it has been killed."""
        async with self._asking:
            if self._maker is not None:
                with suppress(OSError, Failed):
                    return await self._exchange(self._maker, request)
            self._maker = self._launcher.connect({"do": "serve namespaces"})
            return await self._exchange(self._maker, request)

    async def _exchange(self, maker: socket.socket, request: Json) -> tuple[Json, list[int]]:
        try:
            return await exchange(maker, request)
        except BaseException:  # an answer that nobody took would be taken for the next one's
            self._forget_maker()
            raise

    def _forget_maker(self) -> None:
        if self._maker is not None:
            self._maker.close()
            self._maker = None

    async def _fill(self) -> None:
        try:
            while len(self._spare) < _SPARE:
                self._spare.append(await self._make("spare", None))
        except CortenError as error:  # the next start makes its own, and says so if it cannot
            log.warning("cannot keep a network namespace ready: %s", error)

    async def open(self, path: Path, names: bool = False) -> Namespace:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound(f"no network namespace at {path}") from error
        try:
            answer, fds = await self._launcher.ask({"do": "open namespaces", "names": names}, [fd])
        finally:
            os.close(fd)
        if "error" in answer:
            raise Failed(f"cannot enter the network namespace {path}: {answer['error']['text']}")
        return _namespace(fds, names)

    async def close(self) -> None:
        """Let go of what was kept ready."""
        if self._filling:
            await asyncio.wait([self._filling])
        while self._spare:
            self._spare.popleft().close()
        self._forget_maker()


def _has_netfilter() -> bool:
    """Whether this kernel has what a name server inside a namespace needs."""
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER).close()
    except OSError:
        return False
    return True


def _namespace(fds: list[int], names: bool) -> Namespace:
    def path(fd: int) -> Path:
        return Path(f"/proc/{os.getpid()}/fd/{fd}")

    network, route, *more = fds
    sockets, user = (tuple(more[:3]), more[3:]) if names else ((), more)
    if user:
        return Namespace(path(network), network, route, path(user[0]), user[0], sockets)
    return Namespace(path(network), network, route, names=sockets)
