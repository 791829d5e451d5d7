"""Network namespaces by way of the launcher."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
from collections import deque
from contextlib import suppress
from pathlib import Path

from corten.errors import CortenError, Failed, Unavailable
from corten.spec.json import Json
from corten.supervisor import wire
from corten.tasks.answers import HELPER, Answer, answer, failure
from corten.tasks.contract import IdMap, Namespace
from corten.tasks.launcher import Launcher
from corten.tasks.outgoing import PATIENCE

log = logging.getLogger(__name__)

_NETLINK_NETFILTER = 12
_NS_GET_USERNS = 0xB701
_MAKING = "make a network namespace"
SPARE = 2  # namespaces kept ready once one was used: making one takes 3 ms, a start altogether some 20


class LauncherNamespaces:
    """`corten.tasks.contract.NetworkNamespaces`."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._spare: deque[Namespace] = deque()
        self._filling: asyncio.Task[None] | None = None
        self._has_netfilter = _has_netfilter()
        self._process: socket.socket | None = None
        self._asking = asyncio.Lock()

    async def create(self, id_map: IdMap | None = None) -> Namespace:
        if id_map is not None:
            maps = {"uids": id_map.uids, "gids": id_map.gids}
            made = await self._launcher.ask({"do": "make namespaces", "id_map": maps}, [], HELPER)
            return namespace_of(*descriptors(made, _MAKING))
        namespace = self._spare.popleft() if self._spare else await self._new()
        if self._filling is None or self._filling.done():
            self._filling = asyncio.ensure_future(self._fill())
        return namespace

    async def _new(self) -> Namespace:
        return namespace_of(*descriptors(await self._ask_process("new", []), _MAKING))

    async def _ask_process(self, do: str, fds: list[int]) -> Answer:
        """By the process that makes them all, one after the other; another where it was killed, or is silent."""
        async with self._asking:
            if self._process is not None:
                with suppress(OSError, Failed, Unavailable):
                    return await self._exchange(self._process, {"do": do}, fds)
            self._process = self._launcher.connect({"do": "serve namespaces"})
            return await self._exchange(self._process, {"do": do}, fds)

    async def _exchange(self, process: socket.socket, request: Json, fds: list[int]) -> Answer:
        try:
            wire.send(process, request, fds)  # it has read all that came before: there is room
            return await answer(process, wire.Decoder(), PATIENCE)
        except BaseException:  # an answer that was not read would be taken for the next one's
            self._forget_process()
            raise

    def _forget_process(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    async def _fill(self) -> None:
        try:
            while len(self._spare) < SPARE:
                self._spare.append(await self._new())
        except (
            CortenError,
            OSError,
            wire.ProtocolError,
        ) as error:  # the next start makes its own, and says so if it cannot
            log.warning("cannot keep a network namespace ready: %s", error)

    async def open(self, fd: int) -> Namespace:
        user = -1
        try:
            user = _owner(fd)
            (route,) = descriptors(await self._ask_process("route", [fd]), "enter a network namespace")
        except BaseException:
            for opened in (fd, user):
                if opened >= 0:
                    os.close(opened)
            raise
        return namespace_of(fd, route, user)

    async def name_sockets(self, namespace: Namespace) -> tuple[int, ...]:
        if not self._has_netfilter:
            return ()
        return tuple(descriptors(await self._ask_process("names", [namespace.fd]), "listen for questions about names"))

    async def name_client(self, namespace: Namespace) -> int:
        (client,) = descriptors(await self._ask_process("name client", [namespace.fd]), "ask questions about names")
        return client

    async def dial_sockets(self, namespace: Namespace) -> tuple[int, ...]:
        return tuple(descriptors(await self._ask_process("dial", [namespace.fd]), "connect in a network namespace"))

    async def close(self) -> None:
        """Close the spare namespaces."""
        if self._filling:
            await asyncio.wait([self._filling])
        while self._spare:
            self._spare.popleft().close()
        self._forget_process()


def _has_netfilter() -> bool:
    """Whether this kernel has what a name server inside a namespace needs."""
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER).close()
    except OSError:
        return False
    return True


def _owner(namespace: int) -> int:
    """A descriptor of the user namespace that owns this one; -1 for our own (ioctl_nsfs(2), NS_GET_USERNS)."""
    user = fcntl.ioctl(namespace, _NS_GET_USERNS)
    if os.fstat(user).st_ino == os.stat("/proc/self/ns/user").st_ino:
        os.close(user)
        return -1
    return user


def descriptors(answer: Answer, purpose: str) -> list[int]:
    body, fds = answer
    if "error" in body:
        raise Failed(f"cannot {purpose}: {failure(body['error'])}")
    return fds


def namespace_of(network: int, route: int, user: int = -1) -> Namespace:
    def path(fd: int) -> Path:
        return Path(f"/proc/{os.getpid()}/fd/{fd}")

    return Namespace(path(network), network, route, path(user) if user >= 0 else None, user)
