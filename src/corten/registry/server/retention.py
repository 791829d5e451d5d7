"""What a collection keeps of one repository. Pure: what is there goes in, what is kept comes out.

Kept are tags, unless a rule says otherwise; manifests that a tag names or that were needed lately; what a kept index
lists; whatever refers to something kept (signatures, SBOMs); and the blobs of all these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from corten.registry.server.rights import matches


@dataclass(frozen=True, slots=True)
class Tag:
    name: str
    digest: str
    pushed: int  # nanoseconds since the epoch


@dataclass(frozen=True, slots=True)
class Node:
    """A manifest: what it has and what it is about. `touched` in nanoseconds since the epoch."""

    blobs: tuple[str, ...]
    manifests: tuple[str, ...]
    subject: str
    touched: int


@dataclass(frozen=True, slots=True)
class Keep:
    """Of the tags like `tags` in repositories like `repositories`: the `last` ones pushed, and those pushed in the last
    `newer` seconds. Neither: all of them."""

    repositories: tuple[str, ...] = ("**",)
    tags: tuple[str, ...] = ("*",)
    last: int | None = None
    newer: float | None = None


def surplus(repository: str, tags: Iterable[Tag], rules: Sequence[Keep], now: int) -> list[Tag]:
    """The tags that go. A tag is for the first rule that it is like; one that is like none stays."""
    found: list[Tag] = []
    left = sorted(tags, key=lambda tag: (-tag.pushed, tag.name))
    for rule in rules:
        if any(matches(pattern, repository) for pattern in rule.repositories):
            mine = [tag for tag in left if any(fnmatchcase(tag.name, pattern) for pattern in rule.tags)]
            left = [tag for tag in left if tag not in mine]
            found += [tag for at, tag in enumerate(mine) if not _stays(rule, at, now - tag.pushed)]
    return found


def _stays(rule: Keep, at: int, age: int) -> bool:
    if rule.last is None and rule.newer is None:
        return True
    return (rule.last is not None and at < rule.last) or (rule.newer is not None and age <= rule.newer * 1e9)


def kept(nodes: Mapping[str, Node], tagged: Iterable[str], expired: Iterable[str], since: int, old: int) -> set[str]:
    """The manifests that stay: `tagged` ones, others when they were touched at or after `since`, and whatever hangs on
    them. What hangs on `expired` ones, whose tags go, has to have been touched at or after `old` only."""
    referrers: dict[str, list[str]] = {}
    for digest, node in nodes.items():
        if node.subject:
            referrers.setdefault(node.subject, []).append(digest)

    def hanging(left: list[str]) -> set[str]:
        found: set[str] = set()
        while left:
            digest = left.pop()
            if digest in nodes and digest not in found:
                found.add(digest)
                left += [*nodes[digest].manifests, *referrers.get(digest, ())]
        return found

    going = hanging([*expired])
    young = (digest for digest, node in nodes.items() if node.touched >= (old if digest in going else since))
    return hanging([*tagged, *young])
