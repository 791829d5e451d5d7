"""The noun `Sandboxes`.

A sandbox is what processes share that are no descendants of one another: a network namespace, and the user namespace
that owns it where ids are mapped. Each container has one of its own, or is a member of another's (`--network
container:X`, a pod). The kernel keeps a namespace as long as a process is in it or a descriptor of it is open, and
nothing is pinned in a file system, so a sandbox is one of

    absent     no process is in it: the next one that is to be makes it
    inhabited  its members keep it, also while the container that it is named for restarts
    held       a holder process keeps it, members or not: a pod before its first container

A container and one that has joined it:

    namespace = await sandboxes.open(x.id)                    # absent: made
    ...                                                       # x runs in it, y has joined it, x ends
    namespace = await sandboxes.open(x.id, [y.task])          # inhabited: the same one

A pod:

    namespace = await sandboxes.hold(pod)                     # Conflict when it is held already
    namespace = await sandboxes.open(pod)                     # the same one; also by a later daemon
    others = await sandboxes.open_shared(pod)                 # its IPC, UTS and PID namespaces, as `hold` was asked
    await sandboxes.release(pod)                              # idempotent; it lives on while members are in it

Who gets a `Namespace`, or `SharedNamespaces`, closes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from corten.errors import NotFound
from corten.tasks.contract import Holders, IdMap, Namespace, NetworkNamespaces, Shared, SharedNamespaces, Task


def open_network(task: Task, inode: int) -> int:
    """A descriptor of a task's network namespace, the caller's to close. Raises NotFound when the task has ended, or is
    not in the one with this inode (0: in any but our own)."""
    fd = task.open_namespace("network")
    found = os.fstat(fd).st_ino
    if found == (inode or found) and (inode or found != os.stat("/proc/self/ns/net").st_ino):
        return fd
    os.close(fd)
    raise NotFound("its first process has left the network namespace that it was started in")


class Sandboxes:
    def __init__(self, namespaces: NetworkNamespaces, holders: Holders) -> None:
        self._namespaces = namespaces
        self._holders = holders

    async def open(
        self, id: str, members: Iterable[Task] = (), id_map: IdMap | None = None, inode: int = 0
    ) -> Namespace:
        """The network namespace of a sandbox: its holder's, that of a member which is still in it, or a new one.

        `id_map` is for a new one, which is then owned by a new user namespace. `inode` is that of the namespace that
        members were put into: one with CAP_SYS_ADMIN may have gone to another since, the host's for instance
        (setns(2)). Raises Failed, Unavailable.
        """
        if id in self._holders.ids:
            return await self._holders.open(id)
        for member in members:
            try:
                return await self._namespaces.open(open_network(member, inode))
            except NotFound:  # it has just ended, or is elsewhere
                continue
        return await self._namespaces.create(id_map)

    async def hold(
        self, id: str, id_map: IdMap | None = None, shared: Shared | None = None, network: Namespace | None = None
    ) -> Namespace:
        """Make a sandbox that stays until it is released, also without this daemon. `network` is that of `new`, still
        the caller's. Raises Conflict when there is one of this id, Failed, Unavailable."""
        return await self._holders.start(id, id_map, shared, network)

    async def new(self) -> Namespace:
        """A network for a sandbox that is not held yet: it can be connected while its holder is made."""
        return await self._namespaces.create()

    async def open_shared(self, id: str) -> SharedNamespaces:
        """What a sandbox that is held has beside its network. Raises NotFound, Unavailable."""
        return await self._holders.open_shared(id)

    async def ended(self, id: str) -> None:
        """Return when a sandbox that is held is held no more, whatever the reason."""
        await self._holders.ended(id)

    def held(self) -> set[str]:
        """Ids of those that are held, as far as is known without asking their holders."""
        return set(self._holders.ids)

    async def release(self, id: str) -> None:
        """End its holder. Idempotent. Raises Unavailable when that does not end."""
        await self._holders.end(id)
