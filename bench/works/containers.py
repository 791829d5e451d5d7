"""Running containers for the works that need some."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench import image
from bench.peers import Daemon
from bench.stage import unique

AT_A_TIME = 4


@contextlib.contextmanager
def running(daemon: Daemon, *command: str, **more: Any) -> Iterator[str]:
    """The id of a started container that is removed at the end; `more` is added to the create request."""
    identity = start(daemon, *command, **more)
    try:
        yield identity
    finally:
        remove(daemon, identity)


def start(daemon: Daemon, *command: str, **more: Any) -> str:
    """Create and start one; without a command it sleeps."""
    with daemon.connect() as api:
        identity: str = create(daemon, *command, **more)
        api.ask("POST", f"/containers/{identity}/start")
        return identity


def create(daemon: Daemon, *command: str, **more: Any) -> str:
    request = {"Image": image.NAME, "Cmd": list(command or ("sleep", "100000")), **more}
    with daemon.connect() as api:
        identity: str = api.ask("POST", f"/containers/create?name={unique()}", request)["Id"]
        return identity


def remove(daemon: Daemon, identity: str) -> None:
    with daemon.connect() as api:
        api.ask("DELETE", f"/containers/{identity}?force=1")


def start_many(daemon: Daemon, number: int) -> list[str]:
    """So many sleepers."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(pool.map(lambda _: start(daemon), range(number)))


def remove_many(daemon: Daemon, identities: list[str]) -> None:
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(lambda identity: remove(daemon, identity), identities))
