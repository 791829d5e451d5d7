"""A task in a guest: nothing of it is a process of the host's, and its supervisor is the only way to it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from corten.errors import Conflict, NotFound, Unavailable, Unsupported
from corten.spec.json import Json
from corten.supervisor import requests
from corten.tasks import guest_ps
from corten.tasks.contract import Credentials, Held, ProcessTable
from corten.tasks.task import SupervisedTask


class GuestTask(SupervisedTask):
    """`corten.tasks.contract.Task`, where what `HostTask` finds in /proc is asked of the guest, or Unsupported."""

    def namespace(self, kind: str) -> Path:
        if kind == "network":
            return super().namespace(kind)
        raise Unsupported(f"the {kind} namespace of container {self.id} is its guest's: no other container can join it")

    def open_namespace(self, kind: str) -> int:
        """That of the network is QEMU's, in which the guest's name server answers."""
        if kind == "network":
            return super().open_namespace(kind)
        if self.ended:
            raise NotFound(f"container {self.id} is not running")
        raise Unsupported(f"the {kind} namespace of container {self.id} is its guest's: no other container can join it")

    async def held(self) -> Held:
        """What they have open is seen by its kernel alone."""
        rows = (await self._ask("table"))["processes"]
        return Held(len(rows), sum(row["threads"] for row in rows), None, None)

    def credentials(self) -> Credentials:
        raise Unsupported("the processes of a guest are not this host's")

    def root(self) -> Path:
        raise Unsupported(f"the files of container {self.id} are its guest's")

    async def mount_number(self, path: str) -> int:
        raise Unsupported(f"what container {self.id} has at {path} is its guest's")

    def open_tree(self) -> tuple[int, ...]:
        if self.ended:
            return ()
        raise Unsupported(f"the files of container {self.id} are its guest's")

    async def interface_counters(self) -> Json:
        return {} if self.ended else dict((await self.stats()).get("interfaces") or {})

    async def processes(self, arguments: Sequence[str]) -> ProcessTable:
        """See `guest_ps`: there is no ps in a guest."""
        columns = guest_ps.parse(arguments)
        self._check_version(requests.SHOWS_COLUMNS, "show its processes")
        answer = await self._ask("table")
        return columns.table(answer["processes"], time.time())

    async def exec_runs(self, exec_id: str) -> bool:
        try:
            await self.write_log()  # its supervisor has said what there is to say when it answers anything
        except (Conflict, Unavailable):
            pass
        future = self._execs.get(exec_id)
        return future is not None and not future.done()
