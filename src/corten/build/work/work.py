"""The builder's work, as the daemon holds it. What does a step is loaded with the first build."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property, partial
from typing import TYPE_CHECKING

from corten.build.work.caches import Caches
from corten.build.work.rooms import Rooms, view_of
from corten.store.leases import Lease

if TYPE_CHECKING:
    from corten.build.work.outputs import Reader
    from corten.build.work.reading import TreeLooks
    from corten.build.work.worker import StepWorker, Tools


class Work:
    """One for the daemon. `caches` are the directories of cache mounts."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.caches = Caches(rooms.root / "cache", rooms.seed, partial(view_of, rooms))
        self.caches.recover()

    @cached_property
    def _tools(self) -> Tools:
        from corten.build.work.worker import Tools

        return Tools(self.rooms, self.caches)

    @cached_property
    def _looks(self) -> TreeLooks:
        from corten.build.work.reading import TreeLooks

        return TreeLooks(self.rooms)

    def looks(self) -> TreeLooks:
        """Into trees."""
        return self._looks

    def worker(self, lease: Lease, allowed: Collection[str] = ()) -> StepWorker:
        """See `StepWorker`."""
        from corten.build.work.worker import StepWorker

        return StepWorker(self._tools, lease, allowed)

    def reader(self) -> Reader:
        """What reads trees for outputs."""
        from corten.build.work.outputs import Reader

        return Reader(self.rooms)
