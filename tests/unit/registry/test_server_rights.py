"""Rules: patterns, groups, what writing includes."""

from __future__ import annotations

import pytest

from corten.errors import Invalid
from corten.registry.server.rights import Rights, Rule, matches, rule

ALL = frozenset(["read", "write", "delete"])


@pytest.mark.parametrize(
    ("pattern", "user", "good", "bad"),
    [
        ("**", "", ["a", "a/b/c"], []),
        ("team/**", "", ["team/a", "team/a/b"], ["team", "teams/a", "x/team/a"]),
        ("team/*", "", ["team/a"], ["team", "team/a/b"]),
        ("*-cache", "", ["a-cache"], ["a/b-cache", "a-cachex"]),
        ("a.b", "", ["a.b"], ["axb"]),
        ("home/{user}/**", "ann", ["home/ann/x"], ["home/bob/x", "home/ann"]),
        ("home/{user}/**", "a.*", [], ["home/ann/x", "home/a.*/x"]),
        ("home/{user}/**", "x/../bob", [], ["home/bob/x"]),
        ("home/{user}", "", [], ["home/", "home/{user}"]),
    ],
)
def test_patterns(pattern: str, user: str, good: list[str], bad: list[str]) -> None:
    for name in good:
        assert matches(pattern, name, user), name
    for name in bad:
        assert not matches(pattern, name, user), name


def test_rights() -> None:
    rights = Rights(
        [
            Rule(("@team", "cat"), ("team/**",), frozenset(["write"])),
            Rule(("*",), ("home/{user}/**",), ALL),
            Rule(("anonymous",), ("public/**",), frozenset(["read"])),
            Rule(("ann",), ("public/**",), frozenset(["delete"])),
        ],
        {"team": ("ann", "bob")},
    )
    assert rights.of("ann", "team/a") == {"read", "write"} == rights.of("cat", "team/a")
    assert rights.of("dan", "team/a") == frozenset() == rights.of("", "team/a")
    assert rights.of("dan", "home/dan/a") == ALL and not rights.of("dan", "home/ann/a")
    assert not rights.of("", "home//a")
    assert rights.of("", "public/a") == {"read"} == rights.of("dan", "public/a")
    assert rights.of("ann", "public/a") == {"read", "delete"}


def test_bad_rules() -> None:
    assert rule("ann,bob:a/**,b:read,write") == Rule(("ann", "bob"), ("a/**", "b"), frozenset(["read", "write"]))
    for text in ("ann", "ann:a", "ann::read", "ann:a:fly", "ann:A:read", "ann:a b:read", "a:b:c:read"):
        with pytest.raises(Invalid):
            rule(text)
    with pytest.raises(Invalid, match="no group 'x'"):
        Rights([rule("@x:a:read")])
