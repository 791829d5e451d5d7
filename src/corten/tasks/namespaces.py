"""Network namespaces by way of the launcher."""

from __future__ import annotations

import os
from pathlib import Path

from corten.engine.seams import IdMap, Namespace
from corten.errors import Failed, NotFound
from corten.tasks.launcher import Launcher


class LauncherNamespaces:
    """`engine.seams.NetworkNamespaces`."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    async def create(self, name: str, id_map: IdMap | None = None) -> Namespace:
        maps = {"uids": id_map.uids, "gids": id_map.gids} if id_map else None
        answer, fds = await self._launcher.ask({"do": "make namespaces", "name": name, "id_map": maps}, [])
        if "error" in answer:
            raise Failed(f"cannot make a network namespace: {answer['error']['text']}")
        return _namespace(fds)

    async def open(self, path: Path) -> Namespace:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound(f"no network namespace at {path}") from error
        try:
            answer, fds = await self._launcher.ask({"do": "open namespaces"}, [fd])
        finally:
            os.close(fd)
        if "error" in answer:
            raise Failed(f"cannot enter the network namespace {path}: {answer['error']['text']}")
        return _namespace(fds)


def _namespace(fds: list[int]) -> Namespace:
    def path(fd: int) -> Path:
        return Path(f"/proc/{os.getpid()}/fd/{fd}")

    network, route, *user = fds
    if user:
        return Namespace(path(network), network, route, path(user[0]), user[0])
    return Namespace(path(network), network, route)
