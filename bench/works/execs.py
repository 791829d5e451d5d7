"""`exec C true` in a running container."""

from __future__ import annotations

import contextlib

from bench.measure import Failed, Subject, Table, Target, alternate
from bench.stage import Stage, Work
from bench.works.containers import running
from bench.works.run import CORTEN, DOCKERD, OWN, with_docker, with_own


def measure(stage: Stage) -> list[Table]:
    """One table: Docker's client against both daemons, our own against ours."""
    with contextlib.ExitStack() as containers:
        subjects: list[Subject] = []
        for name, title in {"dockerd": DOCKERD, "Corten": CORTEN}.items():
            try:
                identity = containers.enter_context(running(stage.daemon(name)))
            except Failed as error:
                subjects += [Subject(row, absent=str(error)) for row in (title, OWN) if row == title or title == CORTEN]
                continue
            subjects += with_docker(stage, {name: title}, "exec", identity, "true")
            if name == "Corten":
                subjects.append(with_own(stage, OWN, "exec", identity, "true"))
        rows = alternate(subjects, stage.runs(15, 5))
    return [Table("exec C true", rows, DOCKERD, (Target(CORTEN, 1 / 2, DOCKERD),))]


WORK = Work("exec", measure)
