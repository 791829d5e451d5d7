"""A container's file tree seen from outside: cp, diff and export. The work itself is done in confined processes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

from corten.engine.configuration import Configuration
from corten.engine.containers import mounts
from corten.engine.containers.container import Container
from corten.engine.containers.damage import whole
from corten.engine.containers.stores import Stores
from corten.engine.containers.volume_events import MountedVolumes
from corten.engine.events import Events
from corten.engine.subpaths import with_subpaths
from corten.errors import Conflict, CortenError, Invalid, NotFound, Unsupported
from corten.instance.contract import Changes, Export, Fetch, Layer, Look, Put
from corten.layers.checked import Checked, base_of
from corten.layers.listed import Listed
from corten.plan.isolation import guest_of
from corten.plan.mounts import bundle_files
from corten.plan.namespaces import remapped
from corten.spec.json import Json
from corten.store.feed import decoded
from corten.tasks.contract import Task, TreeWork

Opened = Callable[[Container], AbstractAsyncContextManager[Task]]


class ContainerTrees:
    """Every method may raise NotFound, Conflict (the container is going), Invalid, Forbidden, Exhausted, Failed."""

    def __init__(
        self,
        stores: Stores,
        work: TreeWork,
        configuration: Configuration,
        events: Events,
        publish: Callable[[Container, str], None],
        opened: Opened,
    ) -> None:
        """`publish` is for a container's events, `opened` for the files of one in a guest that does not run."""
        self._stores = stores
        self._trees = stores.snapshots
        self._work = work
        self._configuration = configuration
        self._events = events
        self._publish = publish
        self._opened = opened

    async def look(self, container: Container, path: str) -> Json:
        """{"name", "size", "mode" (Go's), "mtime" (nanoseconds), "linkTarget"} of a path."""
        request = Look(check(path))
        async with self._tree(container) as (work, where, fds):
            return await work.ask(request, where, fds)

    @asynccontextmanager
    async def fetch(self, container: Container, path: str) -> AsyncIterator[tuple[Json, AsyncIterator[bytes]]]:
        """The same, and the tar of what is there, named by its last component."""
        request = Fetch(check(path))
        async with self._tree(container) as (work, where, fds), work.stream(request, where, fds) as (found, data):
            self._publish(container, "archive-path")
            yield found, _of_tree(container, data, base_of(path))

    async def put(
        self, container: Container, path: str, body: AsyncIterator[bytes], strict: bool, owners: bool
    ) -> None:
        """Unpack a tar, compressed or not, in the directory `path`. With `owners` all becomes the container's user's.

        `strict`: no directory takes the place of something else, nor the other way round.
        """
        request = Put(check(path), strict, container.record.config.user if owners else "")
        async with self._tree(container, write=True) as (work, where, fds):
            # Decompressed here, and not by anything of the container's.
            await work.pour(request, decoded(body), where, fds)
            self._publish(container, "extract-to-dir")

    @asynccontextmanager
    async def export(self, container: Container) -> AsyncIterator[AsyncIterator[bytes]]:
        """The tar of the container's own files, without its volumes."""
        async with (
            self._tree(container, bare=True) as (work, where, fds),
            work.stream(Export(), where, fds) as (_, data),
        ):
            self._publish(container, "export")
            yield _of_tree(container, data)

    def changes(self, container: Container) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Docker's list as JSON: {"Path", "Kind"}, kind 0 changed, 1 added, 2 deleted."""
        return self._own(container, Changes())

    def layer(self, container: Container) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The changes as the uncompressed tar of a layer."""
        return self._own(container, Layer())

    @asynccontextmanager
    async def _own(self, container: Container, request: Changes | Layer) -> AsyncIterator[AsyncIterator[bytes]]:
        """A stream about the container's own tree and the one below it."""
        if guest_of(container.record.host_config):
            async with self._of_guest(container) as work, work.stream(request, {}, ()) as (_, data):
                yield _listed(data) if isinstance(request, Changes) else data
            return
        tree = self._snapshot(container)
        base = self._trees.view(tree.parent) if tree.parent is not None else ()
        (root,) = self._trees.mounts(container.id)
        copied = root.type == "bind" and tree.parent is not None
        where: Json = {"container": container.id, "whole": copied, **self._ids(container)}
        if base:
            where["base"] = base[0].entry()
        with whole(container, "tree"):
            own = os.open(self._trees.tree_store.files(tree), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            async with self._work.stream(request, where, [own]) as (_, data):
                yield data
        finally:
            os.close(own)

    @asynccontextmanager
    async def _of_guest(self, container: Container) -> AsyncIterator[TreeWork]:
        """A guest's disk is one guest's: the lock keeps a start away from one that does not run."""
        if container.task is not None and container.record.state.running:
            yield container.task.trees()
            return
        async with container.lock:
            if container.task is None or not container.record.state.running:
                async with self._opened(container) as task:
                    yield task.trees()
                return
        yield container.task.trees()

    def _ids(self, container: Container) -> Json:
        """The id maps of a container in a user namespace: what it wrote has the host's ids."""
        facts, pod = self._configuration.facts, container.record.pod
        if pod is not None:
            facts = replace(facts, uid_map=tuple(pod.uids), gid_map=tuple(pod.gids))
        if not remapped(container.record.host_config, facts):
            return {}
        maps = {"uids": facts.uid_map, "gids": facts.gid_map}
        return {"ids": {name: [[m.container, m.host, m.size] for m in lines] for name, lines in maps.items()}}

    def _snapshot(self, container: Container) -> Any:
        try:
            return self._trees.tree_store.get(container.id)
        except NotFound:
            raise Conflict(f"container {container.id[:12]} has no file system: it is being made or removed") from None

    @asynccontextmanager
    async def _tree(
        self, container: Container, bare: bool = False, write: bool = False
    ) -> AsyncIterator[tuple[TreeWork, Json, tuple[int, ...]]]:
        """Who does the work, and what it takes to have the container's tree: where it is, and descriptors when it runs.

        A writable tree is mounted once at a time (overlayfs.rst: "upperdir is in-use"), so who writes to that of a
        stopped container holds its lock, and a start waits. To read it needs no lock: it is mounted as layers alone.
        """
        if guest_of(container.record.host_config):
            async with self._of_guest(container) as work:
                with _named(container):
                    yield work, {}, ()
            return
        where: Json = {"container": container.id, "bare": bare, **self._ids(container)}
        async with AsyncExitStack() as held:
            fds = await _lock_stopped(container, held) if write else _running(container)
            if not bare:  # as dockerd, which mounts them for it, also when the container has them already
                MountedVolumes(self._events, container, held).mounted()
            if fds is None:
                with _named(container):
                    yield _own_work(container), {}, ()
                return
            for fd in fds:
                held.callback(os.close, fd)
            self._snapshot(container)
            if not fds:
                trees = self._trees.mounts(container.id) if write else self._trees.view(container.id)
                where["rootfs"] = trees[0].entry()
                where["scratch"] = not write
                where["read_only"] = container.record.host_config.readonly_rootfs
                where["mounts"] = [] if bare else await _mounts(self._stores, container, held)
            with _named(container):
                yield self._work, where, fds


def _of_tree(container: Container, data: AsyncIterator[bytes], base: bytes = b"") -> AsyncIterator[bytes]:
    """As it is where it comes from a process of ours. A guest's agent may have been replaced."""
    return _checked(data, base) if guest_of(container.record.host_config) else data


async def _checked(data: AsyncIterator[bytes], base: bytes) -> AsyncIterator[bytes]:
    archive = Checked(base)
    async for piece in data:
        if sent := archive.feed(piece):
            yield sent
    archive.end()


async def _listed(data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    changes = Listed()
    async for piece in data:
        if sent := changes.feed(piece):
            yield sent
    changes.end()


async def _lock_stopped(container: Container, held: AsyncExitStack) -> tuple[int, ...] | None:
    """As `_running`; when that is nothing, `held` holds the container's lock."""
    if (fds := _running(container)) != ():
        return fds
    async with AsyncExitStack() as locked:
        await locked.enter_async_context(container.lock)
        await locked.enter_async_context(container.lend())
        fds = _running(container)
        if fds == ():
            held.push_async_exit(locked.pop_all())
        return fds


async def _mounts(stores: Stores, container: Container, held: AsyncExitStack) -> list[Json]:
    """What is mounted in a container when it runs: volumes, binds, hosts and the like; outer ones first.

    A volume that is a file system is mounted for this alone, or is that of another container which runs. It is locked
    only while that is found out: a client that reads slowly would keep others from their start.
    """
    points = [point for point in container.record.mounts if point.type in ("volume", "bind") and point.source]
    async with AsyncExitStack() as brief:
        typed = await mounts.mounted(stores, points, brief)
    others = [point for point in points if point.destination not in typed]
    own = {target: _mount(source, target, False) for target, source in bundle_files(str(container.bundle)).items()}
    asked = {
        point.destination: _mount(point.source, point.destination, not point.rw)
        | {"recursive": point.recursive, "recursive_read_only": point.rro != "no"}
        for point in await with_subpaths(others, held)
    }
    for point in points:
        if mounted := typed.get(point.destination):
            asked[point.destination] = _mount("", point.destination, not point.rw) | {"mount": mounted.entry()}
    return [mount for _, mount in sorted((own | asked).items())]


def _mount(source: str, target: str, read_only: bool) -> Json:
    below = {"recursive": True, "recursive_read_only": True}
    return {"source": source, "target": target, "read_only": read_only, **below}


def check(path: str) -> str:
    """Invalid for a path that names nothing."""
    if not path or "\0" in path or len(path) > 4096:
        raise Invalid("bad parameter: path cannot be empty" if not path else "bad parameter: path is malformed")
    return path


def _running(container: Container) -> tuple[int, ...] | None:
    """Descriptors of a running container's tree (`Task.open_tree`), () when it does not run (any more), None when the
    host has none of it: then it is its supervisor's to work on."""
    task = container.task
    try:
        if task is not None and container.record.state.running:
            return task.open_tree()
        return ()
    except Unsupported:
        return None


def _own_work(container: Container) -> TreeWork:
    if container.task is None:
        raise Conflict(f"container {container.id} is not running")
    return container.task.trees()


@contextmanager
def _named(container: Container) -> Iterator[None]:
    """Errors of workers, which have neither the container's name nor the knowledge that it was removed meanwhile."""
    try:
        yield
    except CortenError as error:
        if container.gone:
            raise NotFound(f"No such container: {container.id}") from error
        if isinstance(error, NotFound):
            raise NotFound(f"{error} {container.record.name}") from None
        raise
