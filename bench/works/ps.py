"""`ps -a` with 1,000 containers that were created and never started."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from bench.measure import Failed, Row, Subject, Table, Target, alternate
from bench.peers import Daemon
from bench.stage import Stage, Work
from bench.wire import Connection
from bench.works.containers import AT_A_TIME, create
from bench.works.run import CORTEN, DOCKERD, OWN, with_docker, with_own


def measure(stage: Stage) -> list[Table]:
    """Two tables, by client and by request. The containers stay: the daemons end after this."""
    number = 100 if stage.quick else 1000
    unready = {name: why for name, daemon in stage.daemons().items() if (why := _fill(daemon, number))}
    return [_by_client(stage, number, unready), _by_request(stage, number, unready)]


def _fill(daemon: Daemon, number: int) -> str:
    """Create so many; why not, where that failed."""
    try:
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(lambda _: create(daemon), range(number)))
    except (Failed, OSError) as error:
        return f"failed: {error}"
    return ""


def _by_client(stage: Stage, number: int, unready: dict[str, str]) -> Table:
    subjects = with_docker(stage, {"dockerd": DOCKERD, "Corten": CORTEN}, "ps", "-a", "-q")
    subjects.append(with_own(stage, OWN, "ps", "-a", "-q"))
    owners = {DOCKERD: "dockerd", CORTEN: "Corten", OWN: "Corten"}
    subjects = [
        Subject(subject.name, absent=unready[owners[subject.name]]) if owners[subject.name] in unready else subject
        for subject in subjects
    ]
    rows = alternate(subjects, stage.runs(9, 3))
    return Table(f"ps -a -q with {number:,} containers", rows, DOCKERD, (Target(CORTEN, 1, DOCKERD),))


def _by_request(stage: Stage, number: int, unready: dict[str, str]) -> Table:
    subjects: list[Subject] = []
    with contextlib.ExitStack() as connections:
        for name, daemon in stage.daemons().items():
            if name in unready:
                subjects.append(Subject(name, absent=unready[name]))
                continue
            subjects.append(Subject(name, partial(_list, connections.enter_context(daemon.connect()), number)))
        rows: tuple[Row, ...] = alternate([*subjects, *stage.absent_rows()], stage.runs(9, 3))
    title = f"GET /containers/json?all=1 with {number:,} containers"
    return Table(title, rows, "dockerd", (Target("Corten", 1, "dockerd"),))


def _list(api: Connection, number: int) -> None:
    found = len(api.ask("GET", "/containers/json?all=1"))
    if found < number:
        raise Failed(f"the list has {found} of {number} containers")


WORK = Work("ps", measure, order=2)
