"""Whole machines: a linked clone, a snapshot with memory and back, and how long a machine stands still when it moves.

Clones are measured as requests of the API, as the client sees them; the pause is what `vm migrate` says: from QEMU's
word that it has stopped to that of the other one that it goes on. By emulation.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path

from bench import commands, peers
from bench.measure import REST, Failed, Row, Table, Target
from bench.stage import Stage, Work
from bench.works.guests import PATIENCE, PLACES
from corten.errors import CortenError
from corten.vm import initramfs, kernels

_NAME = "Corten"
_READY = b"bench: ready"
_PROGRAMS = Path(__file__).parents[1] / "guest_programs"
ARGUMENTS = "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off"


def measure(stage: Stage) -> list[Table]:
    try:
        clones = _clones(stage)
        saved, reverted, pauses = _running(stage)
    except (Failed, CortenError, OSError) as error:
        return [Table("machines", (Row(_NAME, remark=str(error)),), _NAME)]
    return [
        Table("vm clone, linked, of a disk of 1 GB", (Row(_NAME, clones),), _NAME, (Target(_NAME, 50),)),
        Table("vm snapshot create, 256 MB of memory", (Row(_NAME, saved),), _NAME),
        Table("vm snapshot revert, to where it was", (Row(_NAME, reverted),), _NAME),
        Table("vm migrate, how long it stood still", (Row(_NAME, pauses),), _NAME, (Target(_NAME, 500),),
              note="From one QEMU to another one of the same daemon, with a disk of 64 MB. By emulation its "
                   "memory is sent once while it runs, and it stands still at the beginning of that as well."),
    ]  # fmt: skip


class Client:
    def __init__(self, stage: Stage) -> None:
        daemon = stage.daemon(_NAME)
        self.address = f"unix://{daemon.socket}"
        self._command = [str(peers.python().parent / "corten"), "-H", self.address]
        self.connection = daemon.connect()

    def __call__(self, *words: str) -> str:
        return commands.run([*self._command, *words])

    def words(self, *words: str) -> tuple[str, int]:
        """What it says on standard error, and its status."""
        done = subprocess.run([*self._command, *words], capture_output=True, text=True, timeout=PATIENCE)
        return done.stderr, done.returncode

    def ready(self, name: str) -> None:
        with subprocess.Popen([*self._command, "vm", "logs", "-f", name], stdout=subprocess.PIPE) as following:
            assert following.stdout is not None
            try:
                if not any(_READY in line for line in following.stdout):
                    raise Failed(f"machine {name} has ended before it was ready")
            finally:
                following.kill()

    def away(self, *names: str) -> None:
        for name in names:
            with suppress(Failed):
                self("vm", "rm", "-f", "-v", name)


def _clones(stage: Stage) -> tuple[float, ...]:
    client, found = Client(stage), []
    count = stage.runs(10, 3)
    client("vm", "create", "bench-base", "--disk", "1g", "--network", "none")
    try:
        for index in range(count):
            time.sleep(REST)
            begin = time.perf_counter()
            client.connection.ask("POST", "/vms/bench-base/clone", {"Name": f"bench-clone{index}"})
            found.append((time.perf_counter() - begin) * 1000)
    finally:
        client.away(*(f"bench-clone{index}" for index in range(count)), "bench-base")
        with suppress(Failed):
            client("volume", "rm", "bench-base-disk0-base1")
    return tuple(found)


def _running(stage: Stage) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Milliseconds of a snapshot, of the way back, and of a pause, of each run."""
    client, kernel = Client(stage), kernels.find(PLACES)
    initrd = stage.scratch / "machine.initrd"
    with initrd.open("w+b") as files:
        initramfs.write(initramfs.collect(kernel, "busy", [_PROGRAMS]), files)
    booted = ["--kernel", str(kernel.image), "--initrd", str(initrd)]
    like = ["--append", ARGUMENTS, "-m", "256m", "--disk", "64m", "--network", "none"]
    client("vm", "create", "bench-one", *booted, *like, "--start")
    saved, reverted, pauses = [], [], []
    try:
        client.ready("bench-one")
        for _ in range(stage.runs(5, 2)):
            saved.append(_timed(client, "vm", "snapshot", "create", "bench-one", "now"))
            reverted.append(_timed(client, "vm", "snapshot", "revert", "bench-one", "now"))
            client("vm", "snapshot", "rm", "bench-one", "now")
        here, there = "bench-one", "bench-two"
        for _ in range(stage.runs(5, 2)):
            time.sleep(REST)
            said, status = client.words("vm", "migrate", *booted, "--name", there, here, client.address)
            if status:
                raise Failed(commands.last_words(said))
            pauses.append(float(said.split(" stood still for ")[1].split()[0]))
            here, there = there, here
    finally:
        client.away("bench-one", "bench-two")
    return tuple(saved), tuple(reverted), tuple(pauses)


def _timed(client: Client, *words: str) -> float:
    time.sleep(REST)
    begin = time.perf_counter()
    client(*words)
    return (time.perf_counter() - begin) * 1000


WORK = Work("machines", measure)
