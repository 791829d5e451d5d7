"""The builder's work, as the daemon holds it. What does a step is loaded with the first build."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property, partial
from typing import TYPE_CHECKING

from corten.build.contexts import Contexts
from corten.build.trees import Trees
from corten.build.work.caches import Caches
from corten.build.work.rooms import Rooms, view_of
from corten.store.leases import Lease

if TYPE_CHECKING:
    from corten.build.work.cache_archives import CacheArchives
    from corten.build.work.outputs import Reader
    from corten.build.work.reading import TreeLooks
    from corten.build.work.repositories import GitRepositories
    from corten.build.work.worker import StepWorker, Tools
    from corten.registry.client.proxies import Proxies


class Work:
    """`corten.build.shared.Workers`. `caches` are the directories of cache mounts; `proxies` are those for git,
    `repositories` what is kept of what it has fetched."""

    def __init__(self, rooms: Rooms, contexts: Contexts, proxies: Callable[[], Proxies], repositories: Trees) -> None:
        self.rooms = rooms
        self.caches = Caches(rooms.root / "cache", rooms.seed, partial(view_of, rooms))
        self.caches.recover()
        self._contexts = contexts
        self._proxies = proxies
        self._kept = repositories

    @cached_property
    def _tools(self) -> Tools:
        from corten.build.work.worker import Tools

        return Tools(self.rooms, self.caches)

    @cached_property
    def _looks(self) -> TreeLooks:
        from corten.build.work.reading import TreeLooks

        return TreeLooks(self.rooms)

    @cached_property
    def _repositories(self) -> GitRepositories:
        from corten.build.work.repositories import GitRepositories  # which most daemons never need

        return GitRepositories(self._contexts, self.rooms.steps, self.rooms.memory, self._proxies, self._kept)

    def looks(self) -> TreeLooks:
        return self._looks

    def cache_mounts(self) -> CacheArchives:
        from corten.build.work.cache_archives import CacheArchives

        return CacheArchives(self.rooms, self.caches, self._contexts)

    def repositories(self) -> GitRepositories:
        return self._repositories

    def worker(self, lease: Lease, allowed: Collection[str] = ()) -> StepWorker:
        from corten.build.work.worker import StepWorker

        return StepWorker(self._tools, lease, allowed)

    def reader(self) -> Reader:
        from corten.build.work.outputs import Reader

        return Reader(self.rooms)
