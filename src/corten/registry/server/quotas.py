"""How much repositories may have. A quota is for all repositories below a prefix together; content that several of
them have counts once.

What is used is counted from the links on the disk, at start and after a collection by another process, and carried on
in memory between: there is no second account that could be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from corten.errors import Forbidden
from corten.registry.server.layout import Guard, Layout


@dataclass(frozen=True, slots=True)
class Quota:
    """`prefix` "" is for everything, `team` for team and all below team/."""

    prefix: str
    limit: int  # bytes

    def covers(self, repository: str) -> bool:
        return not self.prefix or repository == self.prefix or repository.startswith(self.prefix + "/")


@dataclass(slots=True)
class _Account:
    quota: Quota
    used: int = 0
    holders: dict[str, set[str]] = field(default_factory=dict)  # digest: repositories
    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, repository: str, digest: str, size: int) -> None:
        if digest not in self.holders:
            self.holders[digest], self.sizes[digest] = set(), size
            self.used += size
        self.holders[digest].add(repository)

    def remove(self, repository: str, digest: str) -> None:
        holders = self.holders.get(digest, set())
        holders.discard(repository)
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
        self._counted = -1  # the collection after which it was counted

    def admit(self, repository: str, digest: str, size: int) -> None:
        for account in self._of(repository):
            if digest not in account.holders and account.used + size > account.quota.limit:
                raise Forbidden(_full(account, size))

    def linked(self, repository: str, digest: str, size: int) -> None:
        for account in self._of(repository):
            account.add(repository, digest, size)

    def unlinked(self, repository: str, digest: str) -> None:
        for account in self._of(repository):
            account.remove(repository, digest)

    def hopeless(self, repository: str, size: int, digest: str = "") -> None:
        """Forbidden when `size` bytes on their way cannot become a blob, so that they need not come: with its `digest`
        because there is no room, without because no such blob could ever be. Blocks: call it in a thread."""
        with self._guard:
            if digest:
                self.admit(repository, digest, size)
            for account in self._of(repository):
                if size > account.quota.limit:
                    raise Forbidden(_full(account, size))

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

    def _collected(self) -> int:
        try:
            return (self._layout.root / "collected").stat().st_mtime_ns
        except FileNotFoundError:
            return 0


def _full(account: _Account, size: int) -> str:
    quota = account.quota
    whose = f"of {quota.prefix}" if quota.prefix else "of this registry"
    return f"the quota {whose} is used up: {account.used} of {quota.limit} bytes are used, and {size} more are wanted"
