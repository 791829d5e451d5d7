"""Pull an image from a registry on the loopback, and load the same from an archive."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench import commands, image, peers, registries
from bench.measure import Failed, Subject, Table, alternate
from bench.peers import Daemon
from bench.stage import Stage, Work

REPOSITORY = "bench/weight"


def measure(stage: Stage) -> list[Table]:
    """Two tables. The image is removed before every turn, so that everything has to be moved again."""
    megabytes = 4 if stage.quick else 32
    archive = stage.scratch / "weight.tar"
    tree = image.tree(stage.scratch / "weight")
    image.weigh(tree, megabytes)
    archive.write_bytes(image.docker_archive(tree, f"{REPOSITORY}:latest"))
    runs = stage.runs(5, 2)
    what = f"an image of {megabytes} MB that does not compress, in one layer"
    pulled = _pulls(stage, archive, runs, what)
    loads = [_load(name, daemon, archive) for name, daemon in stage.daemons().items()]
    loaded = alternate([*loads, *stage.absent_rows()], runs)
    return [pulled, Table("load from an archive", loaded, "dockerd", note=f"`docker load` of {what}.")]


def _pulls(stage: Stage, archive: Path, runs: int, what: str) -> Table:
    try:
        registry = registries.debian(stage.scratch / "small-registry")
    except Failed as error:
        absent = [Subject(name, absent=f"docker-registry {error}") for name in ("dockerd", "Corten")]
        return Table("pull from a registry on the loopback", alternate(absent, 0), "dockerd")
    reference = f"{registry.address}/{REPOSITORY}:latest"
    try:
        _push(archive, reference)
        subjects = [_pull(name, daemon, reference) for name, daemon in stage.daemons().items()]
        rows = alternate([*subjects, *stage.absent_rows()], runs)
        for daemon in stage.daemons().values():
            _remove(daemon, reference)  # else the loads would find the layer in place
    finally:
        registry.stop()
    note = f"`docker pull` of {what}, from docker-registry."
    return Table("pull from a registry on the loopback", rows, "dockerd", note=note)


def _push(archive: Path, reference: str) -> None:
    source, target = f"docker-archive:{archive}", f"docker://{reference}"
    commands.run(["skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", source, target])


def _pull(name: str, daemon: Daemon, reference: str) -> Subject:
    return _client(name, daemon, ["pull", "-q", reference], reference)


def _load(name: str, daemon: Daemon, archive: Path) -> Subject:
    return _client(name, daemon, ["load", "-q", "-i", str(archive)], f"{REPOSITORY}:latest")


def _client(name: str, daemon: Daemon, words: list[str], reference: str) -> Subject:
    try:
        command = [peers.docker_client(), *words]
    except Failed as error:
        return Subject(name, absent=f"docker client {error}")
    return Subject(
        name,
        partial(commands.run, command, daemon.environ),
        before=partial(_remove, daemon, reference),
        after=partial(_check, daemon, reference),
    )


def _check(daemon: Daemon, reference: str) -> None:
    """Raises Failed where the image is not there."""
    with daemon.connect() as api:
        api.ask("GET", f"/images/{reference}/json")


def _remove(daemon: Daemon, reference: str) -> None:
    """Forget the image, where it is there."""
    with daemon.connect() as api:
        status, _, content = api.raw("DELETE", f"/images/{reference}?force=1")
    if status not in (200, 404):
        raise Failed(f"cannot remove {reference}: {status} {content.decode(errors='replace').strip()}")


WORK = Work("pull", measure)
