"""How much repositories may have. A quota is for all repositories below a prefix together; content that several of
them have counts once, and an upload counts from its first byte until it is a blob or aborted.

Bounded too is how many things there are, as each takes inodes, and inodes run out as bytes do: blobs and manifests of
each repository, tags, uploads, and the directories of a repository's name.

All of it is counted from the disk, at start and after a collection by another process, and carried on in memory
between: there is no second account that could be wrong. Bytes are reserved before they are written, so that
no two uploads can have the same room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from corten.errors import Forbidden
from corten.registry.server.layout import Guard, Layout

_EACH = 16 << 10  # bytes of a quota for each thing: mke2fs(8) makes as many inodes
_LEAST = 1000  # things that any quota is good for
FETCHED = "@"  # in the id of content that is fetched from an upstream, and never in an upload's


@dataclass(frozen=True, slots=True)
class Quota:
    """`prefix` "" is for everything, `team` for team and all below team/."""

    prefix: str
    limit: int  # bytes

    @property
    def things(self) -> int:
        return max(_LEAST, self.limit // _EACH)

    def covers(self, repository: str) -> bool:
        return not self.prefix or repository == self.prefix or repository.startswith(self.prefix + "/")


@dataclass(slots=True)
class _Account:
    quota: Quota
    used: int = 0  # bytes
    things: int = 0
    holders: dict[str, set[str]] = field(default_factory=dict)  # digest: repositories
    sizes: dict[str, int] = field(default_factory=dict)
    links: Counter[str] = field(default_factory=Counter)  # by repository

    def new_things(self, repository: str, digest: str) -> int:
        """That a link of it makes."""
        if repository in self.holders.get(digest, ()):
            return 0
        return 1 if self.links[repository] else 1 + _directories(repository)

    def admit(self, size: int, things: int) -> None:
        """Raises Forbidden for too much. What needs no more than before is admitted, also where a quota was reduced."""
        if size > 0 and self.used + size > self.quota.limit:
            raise Forbidden(_full(self.quota, f"{self.used} of {self.quota.limit} bytes", f"{size} more"))
        if things > 0 and self.things + things > self.quota.things:
            raise Forbidden(
                _full(self.quota, f"{self.things} blobs, manifests, tags, uploads and directories", "one more")
            )

    def add(self, repository: str, digest: str, size: int) -> None:
        if digest not in self.holders:
            self.holders[digest], self.sizes[digest] = set(), size
            self.used += size
        self.things += self.new_things(repository, digest)
        self.links[repository] += repository not in self.holders[digest]
        self.holders[digest].add(repository)

    def remove(self, repository: str, digest: str) -> None:
        holders = self.holders.get(digest, set())
        if repository in holders:
            holders.remove(repository)
            self.links[repository] -= 1
            if not self.links[repository]:
                del self.links[repository]
            self.things -= self.new_things(repository, digest)
        if not holders and digest in self.sizes:
            self.used -= self.sizes.pop(digest)
            del self.holders[digest]


class Quotas:
    """A store's ledger."""

    def __init__(self, layout: Layout, guard: Guard, quotas: Iterable[Quota]) -> None:
        self._layout = layout
        self._guard = guard
        self._quotas = tuple(quotas)
        self._accounts: list[_Account] = []
        self._reserved: dict[str, tuple[str, int]] = {}  # by id: for which repository, and its bytes
        self._counted = -1  # the collection after which it was counted

    def admit(self, repository: str, digest: str, size: int, tags: int = 0) -> None:
        for account in self._of(repository):
            known = bool(account.holders.get(digest))
            account.admit(0 if known else size, tags + account.new_things(repository, digest))

    def linked(self, repository: str, digest: str, size: int) -> None:
        for account in self._of(repository):
            account.add(repository, digest, size)

    def unlinked(self, repository: str, digest: str) -> None:
        for account in self._of(repository):
            account.remove(repository, digest)

    def tagged(self, repository: str, tags: int) -> None:
        self._count()
        self._add(repository, 0, tags)

    # ---------------------------------------------------------------------------------------- reservations

    def room(self, repository: str, id: str, size: int) -> None:
        with self._guard:
            _, before = self._reserved.get(id, ("", 0))
            for account in self._of(repository):
                account.admit(size - before, id not in self._reserved)

    def reserve(self, repository: str, id: str, size: int) -> None:
        with self._guard:
            self.room(repository, id, size)
            self.release(id)
            self._carry(repository, id, size)

    def release(self, id: str) -> None:
        with self._guard:
            self._count()
            if id in self._reserved:
                repository, size = self._reserved.pop(id)
                self._add(repository, -size, -1)

    def _carry(self, repository: str, id: str, size: int) -> None:
        self._reserved[id] = repository, size
        self._add(repository, size, 1)

    def _add(self, repository: str, size: int, things: int) -> None:
        for account in self._accounts:
            if account.quota.covers(repository):
                account.used += size
                account.things += things

    # --------------------------------------------------------------------------------------------------- counting

    def usage(self) -> list[tuple[Quota, int]]:
        """Bytes used of each quota. Blocks: call it in a thread."""
        with self._guard:
            self._count()
            return [(account.quota, account.used) for account in self._accounts]

    def _of(self, repository: str) -> list[_Account]:
        self._count()
        return [account for account in self._accounts if account.quota.covers(repository)]

    def _count(self) -> None:
        """Once, and again when another process has collected."""
        if self._counted == (now := self._collected()):
            return
        self._counted = now
        self._accounts = [_Account(quota) for quota in self._quotas]
        sizes = {digest: status.st_size for digest, status in self._layout.blobs()}
        for repository in self._layout.repositories():
            accounts = [account for account in self._accounts if account.quota.covers(repository)]
            for digest, _ in self._layout.links(repository) if accounts else ():
                for account in accounts:
                    account.add(repository, digest, sizes.get(digest, 0))
            for account in accounts:
                account.things += self._layout.count_tags(repository)
        self._count_reserved()

    def _count_reserved(self) -> None:
        """Uploads by their files, or what is reserved for one by now; fetched content by what is reserved."""
        before, self._reserved = self._reserved, {}
        for id, repository, size in self._layout.open_uploads():
            _, reserved = before.pop(id, ("", 0))
            self._carry(repository, id, max(size, reserved))
        for id, (repository, size) in before.items():
            if FETCHED in id:
                self._carry(repository, id, size)

    def _collected(self) -> int:
        try:
            return (self._layout.root / "collected").stat().st_mtime_ns
        except FileNotFoundError:
            return 0


def _directories(repository: str) -> int:
    """Of its name; those within are few."""
    return 1 + repository.count("/")


def _full(quota: Quota, used: str, wanted: str) -> str:
    whose = f"of {quota.prefix}" if quota.prefix else "of this registry"
    return f"the quota {whose} is used up: {used} are used, and {wanted} wanted"
