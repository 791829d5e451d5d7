"""Rights of users in repositories: a list of rules, each of which allows something; none forbids.

A rule names users, repositories and rights:

    users          names; `*` is every user with an account, `anonymous` every request, `@GROUP` a group
    repositories   patterns: `*` is any part of one component, `**` any number of components, `{user}` the user's name
    rights         read, write, delete; write includes read

    team/**          team/a, team/a/b, and not team itself
    home/{user}/**   for ann: home/ann/x
    **               everything
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from corten.errors import Invalid
from corten.registry.server.names import NAME

RIGHTS = ("read", "write", "delete")
ANONYMOUS = "anonymous"
AUTHENTICATED = "*"
_PIECE = re.compile(r"\*\*|\*|\{user\}|[^*{]+|.")
_PATTERN = re.compile(r"(?:[a-z0-9._/*-]|\{user\})+")


@dataclass(frozen=True, slots=True)
class Rule:
    users: tuple[str, ...]
    repositories: tuple[str, ...]
    rights: frozenset[str]

    def __post_init__(self) -> None:
        for right in self.rights - {*RIGHTS}:
            raise Invalid(f"unknown right {right!r} (known: {', '.join(RIGHTS)})")
        for pattern in self.repositories:
            check_pattern(pattern)


class Rights:
    def __init__(self, rules: Iterable[Rule], groups: Mapping[str, Iterable[str]] | None = None) -> None:
        known = {name: frozenset(members) for name, members in (groups or {}).items()}
        self._rules = [(_members(rule.users, known), rule) for rule in rules]

    def of(self, user: str, repository: str) -> frozenset[str]:
        """The rights of `user` ("" for anonymous) in a repository."""
        found: set[str] = set()
        for members, rule in self._rules:
            named = ANONYMOUS in members or (bool(user) and (user in members or AUTHENTICATED in members))
            if named and any(matches(pattern, repository, user) for pattern in rule.repositories):
                found |= rule.rights
        return frozenset(found | {"read"} if "write" in found else found)


def _members(users: Iterable[str], groups: Mapping[str, frozenset[str]]) -> frozenset[str]:
    found: set[str] = set()
    for user in users:
        if not user.startswith("@"):
            found.add(user)
        elif user[1:] in groups:
            found |= groups[user[1:]]
        else:
            raise Invalid(f"there is no group {user[1:]!r}")
    return frozenset(found)


def check_pattern(pattern: str) -> str:
    if not _PATTERN.fullmatch(pattern):
        raise Invalid(f"{pattern!r} is no pattern of repository names")
    return pattern


EVERYTHING = Rule((AUTHENTICATED,), ("**",), frozenset(RIGHTS))


def matches(pattern: str, name: str, user: str = "") -> bool:
    if "{user}" in pattern and ("/" in user or not NAME.fullmatch(user)):
        return False
    return _compiled(pattern, user).fullmatch(name) is not None


@lru_cache(4096)
def _compiled(pattern: str, user: str) -> re.Pattern[str]:
    words = {"**": ".+", "*": "[^/]*", "{user}": re.escape(user)}
    return re.compile("".join(words.get(piece) or re.escape(piece) for piece in _PIECE.findall(pattern)))


def rule(text: str) -> Rule:
    """USERS:PATTERNS:RIGHTS, each a list with commas, as on the command line."""
    parts = text.split(":")
    if len(parts) != 3 or not all(parts):
        raise Invalid(f"--allow {text!r}: want USERS:REPOSITORIES:RIGHTS, as in ann:team/**:read,write")
    users, repositories, rights = (tuple(part.split(",")) for part in parts)
    return Rule(users, repositories, frozenset(rights))
