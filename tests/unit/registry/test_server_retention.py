"""What a collection keeps, as a function."""

from __future__ import annotations

from corten.registry.server.retention import Keep, Node, Tag, kept, surplus

DAY = 24 * 3600
NOW = 100 * DAY * 10**9


def tags(*ages: int) -> list[Tag]:
    """One for each age in days, called by it."""
    return [Tag(f"n-{age}", f"sha256:{age}", NOW - age * DAY * 10**9) for age in ages]


def gone(rules: list[Keep], found: list[Tag], repository: str = "a/b") -> list[str]:
    return sorted(tag.name for tag in surplus(repository, found, rules, NOW))


def test_surplus_tags() -> None:
    found = [*tags(1, 2, 3, 40), Tag("latest", "sha256:0", 0)]
    nightly = ("n-*",)
    assert gone([], found) == []
    assert gone([Keep(tags=nightly, last=2)], found) == ["n-3", "n-40"]
    assert gone([Keep(tags=nightly, last=0)], found) == ["n-1", "n-2", "n-3", "n-40"]
    assert gone([Keep(tags=nightly, newer=2 * DAY)], found) == ["n-3", "n-40"]
    assert gone([Keep(tags=nightly, last=1, newer=3 * DAY)], found) == ["n-40"]
    assert gone([Keep(tags=("n-40",)), Keep(tags=nightly, last=1)], found) == ["n-2", "n-3"]
    assert gone([Keep(repositories=("c/**",), last=0)], found) == []
    assert gone([Keep(last=1)], found) == ["latest", "n-2", "n-3", "n-40"]


def node(touched: int, *children: str, subject: str = "") -> Node:
    return Node((), children, subject, touched)


def test_what_hangs_on_what() -> None:
    nodes = {
        "index": node(0, "amd", "arm", "absent"),
        "amd": node(0),
        "arm": node(0),
        "signature": node(0, subject="amd"),
        "of the signature": node(0, subject="signature"),
        "old": node(0, "old child"),
        "old child": node(0),
        "young": node(10),
        "of none": node(0, subject="absent too"),
        "loop": node(0, "loop", subject="loop"),
    }
    hanging = {"index", "amd", "arm", "signature", "of the signature"}
    assert kept(nodes, ["index"], [], since=5, old=8) == hanging | {"young"}
    assert kept(nodes, [], [], since=5, old=8) == {"young"}
    assert kept(nodes, ["index"], [], since=0, old=8) == set(nodes)
    assert kept(nodes, [], ["index", "young"], since=0, old=8) == set(nodes) - hanging
    assert kept(nodes, [], ["index", "young"], since=0, old=11) == set(nodes) - hanging - {"young"}
    assert kept(nodes, ["amd"], ["index"], since=0, old=8) == set(nodes) - {"index", "arm"}
