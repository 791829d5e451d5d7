"""What a task shows from outside when its processes are the host's: through /proc, by the number of its first process.

The only place above supervisors that looks there. A task that has no process on the host (a guest) has another class in
the place of `HostTask`. A number may belong to another process when the task has ended: what would do harm then (a
tree, a signal) is done by descriptor, when the process's control group says that it is the task's.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from corten.aio.threads import alone
from corten.errors import Invalid, NotFound, Unavailable, Unsupported
from corten.kernel import mount, paths
from corten.spec.json import Json
from corten.supervisor.procfs import open_process, open_tree
from corten.tasks.contract import Credentials, Held, ProcessTable
from corten.units.durations import in_go

_NAMES = {"network": "net", "mount": "mnt"}  # OCI's words for namespaces, where /proc has others
_FIELDS = ("rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped")
_COLUMNS = (0, 1, 2, 3, 8, 9, 10, 11)  # of /proc/net/dev, in the order of _FIELDS
_PATIENCE = 10.0  # seconds for ps, and for a look at a mount


class HostTask(Protocol):
    """That part of `corten.tasks.contract.Task`; the rest of it is the subclass's."""

    id: str
    pid: int

    async def pids(self) -> Sequence[int]: ...

    def namespace(self, kind: str) -> Path:
        return Path(f"/proc/{self.pid}/ns/{_NAMES.get(kind, kind)}")

    def open_namespace(self, kind: str) -> int:
        try:
            process = open_process(self.pid)
            try:
                if is_of(process, self.id):
                    return os.open(f"ns/{_NAMES.get(kind, kind)}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
            finally:
                os.close(process)
        except (FileNotFoundError, ProcessLookupError):
            pass
        raise NotFound(f"container {self.id} is not running")

    async def held(self) -> Held:
        pids = await self.pids()
        return await alone(lambda: _held(pids))

    def credentials(self) -> Credentials:
        try:
            text = Path(f"/proc/{self.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            raise NotFound(f"container {self.id} has ended") from None
        fields = dict(line.partition(":\t")[::2] for line in text.splitlines())
        uid, gid = (int(fields[name].split("\t")[1]) for name in ("Uid", "Gid"))
        return Credentials(uid, gid, tuple(map(int, fields["Groups"].split())))

    def root(self) -> Path:
        return Path(f"/proc/{self.pid}/root")

    async def mount_number(self, path: str) -> int:
        try:
            return await alone(partial(_mount_number, self.pid, path), _PATIENCE)
        except (FileNotFoundError, ProcessLookupError):
            raise NotFound(f"container {self.id} has nothing at {path}") from None
        except TimeoutError:
            raise Unavailable(f"what container {self.id} has mounted at {path} does not answer") from None

    def open_tree(self) -> tuple[int, ...]:
        try:
            process = open_process(self.pid)
        except FileNotFoundError:
            return ()
        try:
            return open_tree(process) if is_of(process, self.id) else ()
        except (FileNotFoundError, ProcessLookupError):
            return ()
        finally:
            os.close(process)

    async def interface_counters(self) -> Json:
        try:
            with open(f"/proc/{self.pid}/net/dev", encoding="ascii") as file:
                lines = file.readlines()[2:]
        except OSError:
            return {}
        found: Json = {}
        for line in lines:
            name, _, numbers = line.partition(":")
            if name.strip() != "lo":
                values = numbers.split()
                found[name.strip()] = {field: int(values[column]) for field, column in zip(_FIELDS, _COLUMNS)}
        return found

    async def processes(self, arguments: Sequence[str]) -> ProcessTable:
        pids = {str(pid) for pid in await self.pids()}
        return table(await _ps(arguments), pids)


def _mount_number(pid: int, path: str) -> int:
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        where = paths.open_in(root, path)
    finally:
        os.close(root)
    try:
        return mount.number(where)
    finally:
        os.close(where)


def is_of(process: int, id: str) -> bool:
    """Whether the process with this directory in /proc is in the control group of the task `id`."""
    with open(os.open("cgroup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)) as file:
        return id in file.read()


def runs(pid: int) -> bool:
    """Whether the process has not ended; one that is not reaped yet has."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return False


def send_signal(pid: int, id: str, number: int) -> None:
    """A signal to a process of the task `id`. NotFound when it has ended."""
    try:
        pidfd = os.pidfd_open(pid)  # first: what is looked at afterwards is this process, or the signal reaches none
    except ProcessLookupError:
        raise NotFound(f"no such process: {pid}") from None
    try:
        process = open_process(pid)
        try:
            if not is_of(process, id):
                raise NotFound(f"no such process: {pid}")
        finally:
            os.close(process)
        signal.pidfd_send_signal(pidfd, number)
    except (FileNotFoundError, ProcessLookupError):
        raise NotFound(f"no such process: {pid}") from None
    finally:
        os.close(pidfd)


async def _ps(words: Sequence[str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            "ps", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise Unsupported("top needs the program ps on the host: install procps") from None
    try:
        async with asyncio.timeout(_PATIENCE):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        raise Unavailable(f"ps has not answered within {in_go(_PATIENCE)}") from None
    if process.returncode:
        said = errors.decode(errors="replace").strip().splitlines()  # the rest is how to call it
        raise Invalid(f"ps: {said[0].removeprefix('ps: ') if said else f'it ended with {process.returncode}'}")
    return output.decode(errors="replace")


def table(text: str, pids: set[str]) -> ProcessTable:
    """The lines of ps's output whose PID is one of `pids`; the last column keeps its blanks. Invalid without PID."""
    lines = text.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise Invalid("couldn't find PID field in ps output")
    column, width = titles.index("PID"), len(titles)
    rows = [line.split(None, width - 1) for line in lines[1:]]
    return ProcessTable(titles, [row for row in rows if len(row) > column and row[column] in pids])


def _held(pids: Sequence[int]) -> Held:
    """Processes that end meanwhile are left out."""
    processes = threads = descriptors = sockets = 0
    for pid in pids:
        try:
            threads += len(os.listdir(f"/proc/{pid}/task"))
            opened = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
        except (FileNotFoundError, ProcessLookupError):
            continue
        processes += 1
        descriptors += len(opened)
        sockets += sum(link.startswith("socket:") for link in opened)
    return Held(processes, threads, descriptors, sockets)
