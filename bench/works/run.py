"""`run --rm IMAGE true` on the default bridge: the command line, process start to exit."""

from __future__ import annotations

import itertools
from functools import partial

from bench import commands, image, peers
from bench.measure import Failed, Subject, Table, Target, alternate
from bench.stage import Stage, Work

DOCKERD, CORTEN, OWN = "dockerd, docker client", "Corten, docker client", "Corten, own client"


def measure(stage: Stage) -> list[Table]:
    """One table: both daemons with Docker's client, ours with its own, and what others need for less or the same."""
    subjects = [*with_docker(stage, {"dockerd": DOCKERD, "Corten": CORTEN}, "run", "--rm", image.NAME, "true")]
    subjects.append(with_own(stage, OWN, "run", "--rm", image.NAME, "true"))
    subjects += [_podman(stage), _runc(stage), *_client_alone(stage), _unshare(stage)]
    rows = alternate(subjects, stage.runs(15, 5))
    targets = (Target(CORTEN, 1 / 5, DOCKERD), Target(OWN, 1 / 7, DOCKERD))
    note = "Bridge network, removed at the end. runc and unshare set up no network, no image and no log."
    return [Table(f"run --rm {image.NAME} true", rows, DOCKERD, targets, note=note)]


def with_docker(stage: Stage, names: dict[str, str], *words: str) -> list[Subject]:
    """Docker's client with `words`, against each daemon; `names` gives the rows' names."""
    subjects = []
    for name, title in names.items():
        try:
            command, daemon = [peers.docker_client(), *words], stage.daemon(name)
        except Failed as error:
            subjects.append(Subject(title, absent=str(error)))
            continue
        subjects.append(Subject(title, partial(commands.run, command, daemon.environ)))
    return subjects


def with_own(stage: Stage, title: str, *words: str) -> Subject:
    """Corten's client with `words` against Corten."""
    try:
        daemon = stage.daemon("Corten")
    except Failed as error:
        return Subject(title, absent=str(error))
    return Subject(title, partial(commands.run, [*peers.own_client(), *words], daemon.environ))


def _podman(stage: Stage) -> Subject:
    try:
        return Subject("podman run", partial(stage.podman().run, "--rm", image.NAME, "true"))
    except Failed as error:
        return Subject("podman run", absent=str(error))


def _runc(stage: Stage) -> Subject:
    numbers = itertools.count()
    try:
        bundle = stage.runc()
    except Failed as error:
        return Subject("runc run, no network", absent=str(error))
    return Subject("runc run, no network", lambda: bundle.run(f"bench{next(numbers)}"))


def _client_alone(stage: Stage) -> list[Subject]:
    """What a client needs to ask one question: the part of a run that no daemon can make faster."""
    own = with_own(stage, "own client alone (version)", "version")
    return [*with_docker(stage, {"dockerd": "docker client alone (version)"}, "version"), own]


def _unshare(stage: Stage) -> Subject:
    flags = ["--mount", "--uts", "--ipc", "--net", "--pid", "--fork"]
    command = ["unshare", *flags, str(stage.scratch / "rootfs/bin/busybox"), "true"]
    return Subject("unshare, five namespaces", partial(commands.run, command))


WORK = Work("run", measure)
