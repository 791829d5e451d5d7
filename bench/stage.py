"""What a work finds ready: the engines, started when a work first asks for them, and the scale of the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench import kept, peers, registries
from bench.measure import Failed, Subject, Table
from bench.peers import Daemon, Podman, Runc
from bench.registries import Registry

Engine = TypeVar("Engine")
DAEMONS: dict[str, Callable[[Path], Daemon]] = {"dockerd": peers.dockerd, "Corten": peers.cortend}


@dataclass(slots=True)
class Stage:
    """`scratch` holds the image's tree as `rootfs`; `repeat` replaces every work's own number of runs.

    `kept` is where the large images are.
    """

    scratch: Path
    quick: bool = False
    repeat: int | None = None
    kept: Path = kept.DIRECTORY
    _engines: dict[str, object] = field(default_factory=dict)
    _absent: dict[str, str] = field(default_factory=dict)

    def runs(self, full: int, quick: int) -> int:
        """How often to repeat: the user's word, else by the scale of the run."""
        if self.repeat is not None:
            return self.repeat
        return quick if self.quick else full

    def daemon(self, name: str) -> Daemon:
        """ "dockerd" or "Corten". Raises Failed with the reason where there is none."""
        return self._engine(name, DAEMONS[name])

    def podman(self) -> Podman:
        return self._engine("podman", peers.podman)

    def runc(self) -> Runc:
        return self._engine("runc", peers.runc)

    def registry(self) -> Registry:
        """docker-registry, to pull from."""
        return self._engine("registry", lambda place: registries.debian(place, 5001))

    def daemons(self) -> dict[str, Daemon]:
        """Those that run."""
        found = {}
        for name in DAEMONS:
            try:
                found[name] = self.daemon(name)
            except Failed:
                continue  # `absence` has the reason for the row
        return found

    def absence(self, name: str) -> str:
        return self._absent.get(name, "")

    def absent_rows(self) -> list[Subject]:
        """A subject without work for every daemon that does not run."""
        running = self.daemons()
        return [Subject(name, absent=self.absence(name)) for name in DAEMONS if name not in running]

    def close(self) -> None:
        """Stop what runs, the last started first."""
        for engine in reversed(list(self._engines.values())):
            if isinstance(engine, Daemon | Registry):
                engine.stop()

    def _engine(self, name: str, start: Callable[[Path], Engine]) -> Engine:
        if name in self._absent:
            raise Failed(self._absent[name])
        if name not in self._engines:
            try:
                self._engines[name] = start(self.scratch / name.lower())
            except (Failed, OSError) as error:
                self._absent[name] = str(error)
                raise Failed(str(error)) from error
        return self._engines[name]  # type: ignore[return-value]  # stored under this name by the line above only


@dataclass(frozen=True, slots=True)
class Work:
    """One row of the comparison. `order`: 0 needs daemons that did nothing yet, 2 and 3 leave them full, 1 is the rest.

    `kept` names the large images that it needs; a quick run leaves such works out unless they are asked for.
    """

    name: str
    measure: Callable[[Stage], list[Table]]
    order: int = 1
    kept: tuple[str, ...] = ()


def unique() -> str:
    """A name for a container that no other has."""
    return f"bench-{time.monotonic_ns():x}"
