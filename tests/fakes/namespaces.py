"""Network namespaces that are the one of this process (`corten.tasks.contract.NetworkNamespaces`).

`tests/contract/test_namespaces.py` holds them to what the launcher's do, and names what these cannot: nothing is made.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from corten.errors import NotFound, Unsupported
from corten.tasks.contract import IdMap, Namespace, Shared, SharedNamespaces


class FakeNamespaces:
    async def create(self, id_map: IdMap | None = None) -> Namespace:
        if id_map is None:
            return _opened(Path("/proc/self/ns/net"))
        user = os.open("/proc/self/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        return _opened(Path("/proc/self/ns/net"), user)

    async def open(self, fd: int) -> Namespace:
        return _held(fd)

    async def name_sockets(self, namespace: Namespace) -> tuple[int, ...]:
        """As of a kernel that lacks what a name server needs."""
        return ()

    async def name_client(self, namespace: Namespace) -> int:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.connect(("127.0.0.11", 53))
        return client.detach()

    async def dial_sockets(self, namespace: Namespace) -> tuple[int, ...]:
        return (socket.socket(socket.AF_INET, socket.SOCK_STREAM).detach(),)


class NoHolders:
    """No sandbox is held (`corten.tasks.contract.Holders`)."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    async def start(
        self, id: str, id_map: IdMap | None = None, shared: Shared | None = None, network: Namespace | None = None
    ) -> Namespace:
        raise Unsupported("this engine has no holders")

    async def open(self, id: str) -> Namespace:
        raise NotFound(f"sandbox {id} is not held")

    async def open_shared(self, id: str) -> SharedNamespaces:
        raise NotFound(f"sandbox {id} is not held")

    async def ended(self, id: str) -> None:
        return

    async def end(self, id: str) -> None:
        return


def _opened(path: Path, user: int = -1) -> Namespace:
    return _held(os.open(path, os.O_RDONLY | os.O_CLOEXEC), user)


def _held(fd: int, user: int = -1) -> Namespace:
    route = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)  # a socket would be a way to change this machine
    return Namespace(_path(fd), fd, route, _path(user) if user >= 0 else None, user)


def _path(fd: int) -> Path:
    return Path(f"/proc/{os.getpid()}/fd/{fd}")
