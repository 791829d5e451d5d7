"""100 MB written by a container to its log, and the same read by `logs`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from bench import commands, peers
from bench.measure import Failed, Subject, Table, Target, alternate
from bench.peers import Daemon
from bench.stage import Stage, Work
from bench.works.containers import create, remove
from bench.works.run import CORTEN, DOCKERD, OWN

LINE = "x" * 99  # with its newline 100 bytes
LOG = {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1g", "max-file": "1"}}}


class Writer:
    """One daemon's containers: each write takes a new one, and the last one is there to be read."""

    def __init__(self, daemon: Daemon, size: int) -> None:
        self.daemon, self.size = daemon, size
        self.identity = ""

    def prepare(self) -> None:
        self.clear()
        script = f"yes {LINE} | head -c {self.size}"
        self.identity = create(self.daemon, "sh", "-c", script, HostConfig={**LOG, "NetworkMode": "none"})

    def write(self) -> None:
        """From start until the container has ended."""
        with self.daemon.connect() as api:
            api.ask("POST", f"/containers/{self.identity}/start")
            status = api.ask("POST", f"/containers/{self.identity}/wait")["StatusCode"]
        if status:
            raise Failed(f"the writer ended with {status}")

    def read(self, client: list[str], environ: Mapping[str, str]) -> None:
        """Through a client's `logs`. Raises Failed where a byte is missing."""
        total = commands.count([*client, "logs", self.identity], environ)
        if total != self.size:
            raise Failed(f"logs gave {total:,} bytes of {self.size:,}")

    def clear(self) -> None:
        if self.identity:
            remove(self.daemon, self.identity)
        self.identity = ""


def measure(stage: Stage) -> list[Table]:
    """Two tables: written, read."""
    megabytes = 10 if stage.quick else 100
    runs = stage.runs(3, 1)
    writers = {name: Writer(daemon, megabytes * 1_000_000) for name, daemon in stage.daemons().items()}
    writing = [Subject(name, writer.write, writer.prepare) for name, writer in writers.items()]
    written = alternate([*writing, *stage.absent_rows()], runs, warm_up=0)
    read = alternate(_readers(stage, writers), runs, warm_up=0)
    for writer in writers.values():
        writer.clear()
    note = "Lines of 100 bytes, json-file without rotation; from start to the container's end."
    return [
        Table(f"{megabytes} MB written to the log", written, "dockerd", (Target("Corten", 1 / 2, "dockerd"),),
              note=note),
        Table(f"{megabytes} MB read by logs", read, DOCKERD,
              (Target(CORTEN, 1 / 2, DOCKERD), Target(OWN, 1 / 2, DOCKERD))),
    ]  # fmt: skip


def _readers(stage: Stage, writers: Mapping[str, Writer]) -> list[Subject]:
    subjects = []
    for name, title in {"dockerd": DOCKERD, "Corten": CORTEN, "own": OWN}.items():
        daemon = "Corten" if name == "own" else name
        if daemon not in writers:
            subjects.append(Subject(title, absent=stage.absence(daemon)))
            continue
        try:
            client = peers.own_client() if name == "own" else [peers.docker_client()]
        except Failed as error:
            subjects.append(Subject(title, absent=f"docker client {error}"))
            continue
        writer = writers[daemon]
        subjects.append(Subject(title, partial(writer.read, client, writer.daemon.environ)))
    return subjects


WORK = Work("logs", measure)
