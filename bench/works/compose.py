"""A project of eight services with conditions: `up -d`, again without a change, and `down`."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench import commands, image, peers, sandbox
from bench.measure import Failed, Subject, Table, Target, alternate
from bench.peers import Daemon
from bench.stage import Stage, Work, unique

DOCKER, MIXED, OWN = "Docker Compose, dockerd", "Docker Compose, Corten", "corten compose, Corten"
_CHECK = "healthcheck: {test: [CMD, sh, -c, ': </ready'], interval: 100ms, retries: 600}"
_HEALTHY = "service_healthy"


def _service(name: str, waits: str = "", check: bool = False, command: str = "exec sleep 100000") -> str:
    begin = "echo >/ready; " if check else ""
    lines = [
        f"  {name}:",
        f"    image: {image.NAME}",
        f'    command: [sh, -c, "{begin}{command}"]',
        "    stop_signal: KILL",
    ]
    lines += [f"    {_CHECK}"] if check else []
    lines += [f"    depends_on: {{{waits}}}"] if waits else []
    return "\n".join(lines)


def _on(name: str, condition: str = _HEALTHY) -> str:
    return f"{name}: {{condition: {condition}}}"


PROJECT = "\n".join(
    [
        "services:",
        _service("db", check=True),
        _service("cache", check=True),
        _service("queue", check=True),
        _service("migrate", _on("db"), command="true"),
        _service("api", ", ".join([_on("migrate", "service_completed_successfully"), _on("cache")]), check=True),
        _service("worker", ", ".join([_on("queue"), _on("db")])),
        _service("web", _on("api"), check=True),
        _service("proxy", _on("web")),
        "",
    ]
)


@dataclass(slots=True)
class _Client:
    """One client at one engine, in a project of its own."""

    command: list[str]
    daemon: Daemon
    file: Path
    project: str = field(default_factory=unique)

    def __call__(self, *arguments: str) -> None:
        commands.run([*self.command, "-p", self.project, "-f", str(self.file), *arguments], self.daemon.environ)


def measure(stage: Stage) -> list[Table]:
    """Three tables."""
    file = stage.scratch / "compose.yaml"
    file.write_text(PROJECT)
    clients, absent = _clients(stage, file)
    runs = stage.runs(7, 2)
    limit = (Target(OWN, 1 / 3, DOCKER),)
    try:
        up = [
            Subject(name, partial(client, "up", "-d"), after=partial(client, "down", "-t", "0"))
            for name, client in clients.items()
        ]
        first = alternate([*up, *absent], runs)
        for client in clients.values():
            client("up", "-d")
        again = alternate(
            [*(Subject(name, partial(each, "up", "-d")) for name, each in clients.items()), *absent], runs
        )
        down = [
            Subject(name, partial(client, "down", "-t", "0"), before=partial(client, "up", "-d"))
            for name, client in clients.items()
        ]
        last = alternate([*down, *absent], runs)
    finally:
        for client in clients.values():
            client("down", "-t", "0")
    note = "Eight services, five with a health check each 100 ms, one that completes, a network."
    return [
        Table("compose: up -d", first, DOCKER, limit, note=note),
        Table("compose: up -d without a change", again, DOCKER, limit, note="The one that completes is started again."),
        Table("compose: down", last, DOCKER, limit, note="Each program ends at once."),
    ]


def _clients(stage: Stage, file: Path) -> tuple[dict[str, _Client], list[Subject]]:
    found: dict[str, _Client] = {}
    absent: list[Subject] = []
    for name, engine, command in ((DOCKER, "dockerd", _docker), (MIXED, "Corten", _docker), (OWN, "Corten", _own)):
        try:
            found[name] = _Client(command(), stage.daemon(engine), file)
        except Failed as error:
            absent.append(Subject(name, absent=str(error)))
    return found, absent


def _docker() -> list[str]:
    """Docker Compose 2, as a plugin of docker or by itself. Raises Failed."""
    given = os.environ.get(sandbox.COMPOSE)
    for command in ([given] if given else [], ["docker-compose"], ["docker", "compose"]):
        if command and shutil.which(command[0]):
            try:
                version = commands.run([*command, "version"])
            except Failed:
                continue
            if "v2." in version or "v5." in version:
                return command
    raise Failed(f"no Docker Compose 2 (docker compose, docker-compose, or {sandbox.COMPOSE})")


def _own() -> list[str]:
    return [str(peers.python().parent / "corten"), "compose"]


WORK = Work("compose", measure)
