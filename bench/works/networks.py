"""Networks: what they add to a start, changes of a running container, and many of them at once."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from functools import partial
from typing import Any

from bench.measure import Failed, Row, Subject, Table, Target, alternate
from bench.peers import Daemon
from bench.stage import Stage, Work
from bench.works.containers import create, remove, running, start


def starts(stage: Stage) -> list[Table]:
    """A start with the default bridge, and one without any network; the difference is the network's."""
    subjects = []
    for name, daemon in stage.daemons().items():
        for mode in ("bridge", "none"):
            subjects.append(_start(daemon, f"{name}, {mode}", mode))
    rows = alternate([*subjects, *stage.absent_rows()], stage.runs(15, 5))
    parts = tuple(_difference(rows, name) for name in stage.daemons())
    note = "POST start of a container that was made before. A pair is one turn: with the bridge, and without."
    return [
        Table("start with the bridge network, and without", rows, "dockerd, bridge", note=note),
        Table("the bridge's part of a start", parts, "dockerd", (Target("Corten", 15),)),
    ]


def _start(daemon: Daemon, title: str, mode: str) -> Subject:
    made: list[str] = []

    def before() -> None:
        made.append(create(daemon, HostConfig={"NetworkMode": mode}))

    def act() -> None:
        with daemon.connect() as api:
            api.ask("POST", f"/containers/{made[-1]}/start")

    return Subject(title, act, before, lambda: remove(daemon, made.pop()))


def _difference(rows: tuple[Row, ...], name: str) -> Row:
    found = {row.name: row for row in rows}
    with_, without = found[f"{name}, bridge"], found[f"{name}, none"]
    if with_.remark or without.remark:
        return Row(name, remark=with_.remark or without.remark)
    return Row(name, tuple(a - b for a, b in zip(with_.values, without.values)))


def changes(stage: Stage) -> list[Table]:
    """Connect a running container to another network, and disconnect it."""
    with contextlib.ExitStack() as stack:
        connects, disconnects = [], []
        for name, daemon in stage.daemons().items():
            network = stack.enter_context(new_network(daemon))
            body = {"Container": stack.enter_context(running(daemon))}
            ask = partial(_post, daemon, network)
            connects.append(Subject(name, partial(ask, "connect", body), after=partial(ask, "disconnect", body)))
            disconnects.append(Subject(name, partial(ask, "disconnect", body), before=partial(ask, "connect", body)))
        target = (Target("Corten", 1, "dockerd"),)
        return [
            Table(title, alternate([*subjects, *stage.absent_rows()], stage.runs(15, 5)), "dockerd", target)
            for title, subjects in (("network connect", connects), ("network disconnect", disconnects))
        ]


def _post(daemon: Daemon, network: str, verb: str, body: Any) -> None:
    with daemon.connect() as api:
        api.ask("POST", f"/networks/{network}/{verb}", body)


@contextlib.contextmanager
def new_network(daemon: Daemon, **more: Any) -> Iterator[str]:
    name = f"bench-{secrets.token_hex(4)}"
    with daemon.connect() as api:
        api.ask("POST", "/networks/create", {"Name": name, "CheckDuplicate": True, **more})
    try:
        yield name
    finally:
        with daemon.connect() as api:
            api.ask("DELETE", f"/networks/{name}")


def scale(stage: Stage) -> list[Table]:
    """A start among many networks and endpoints. They stay: the daemons end after this."""
    networks, containers, each = (20, 4, 10) if stage.quick else (200, 10, 50)
    rows: list[Row] = []
    alone = [_start(daemon, f"{name}, alone", "bridge") for name, daemon in stage.daemons().items()]
    rows += alternate(alone, stage.runs(7, 3))
    crowded = []
    for number, (name, daemon) in enumerate(stage.daemons().items()):
        try:
            _crowd(daemon, 100 + number, networks, containers, each)
        except (Failed, OSError) as error:
            rows.append(Row(f"{name}, crowded", remark=f"failed: {error}"))
            continue
        crowded.append(_start(daemon, f"{name}, crowded", "bridge"))
    rows += alternate([*crowded, *stage.absent_rows()], stage.runs(7, 3))
    title = f"start among {networks} networks and {containers * each} endpoints"
    return [Table(title, tuple(rows), "dockerd, alone", (Target("Corten, crowded", 1.5, "Corten, alone"),))]


def _crowd(daemon: Daemon, octet: int, networks: int, containers: int, each: int) -> None:
    made = [f"bench-{octet}-{number}" for number in range(networks)]
    with daemon.connect() as api:
        for number, name in enumerate(made):
            ipam = {"Config": [{"Subnet": f"10.{octet}.{number}.0/24"}]}
            api.ask("POST", "/networks/create", {"Name": name, "IPAM": ipam})
    for number in range(containers):
        container = start(daemon)
        for network in made[number * each % networks :][:each]:
            _post(daemon, network, "connect", {"Container": container})


ALL = (
    Work("network-start", starts),
    Work("network-connect", changes),
    Work("network-scale", scale, order=2),
)
