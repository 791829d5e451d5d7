"""What goes of the cache by itself: daemon.json's "builder", as dockerd has it, and what it comes to. Pure.

    {"builder": {"gc": {"enabled": true, "defaultKeepStorage": "20GB",
                        "policy": [{"keepStorage": "10GB", "filter": ["unused-for=48h"], "all": false}]}}}

Rules are looked at in their order after each build: a rule removes what its filter chooses and no build uses, what was
used longest ago first, until the whole cache has `keepStorage` bytes. What images have as well costs nothing; a rule
without "all" leaves it. Without rules what was not used for 30 days goes, and what is above `defaultKeepStorage`, a
tenth of the disk when it is not said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corten.build.cache import usage
from corten.errors import Invalid
from corten.spec.docker.filters import Filters
from corten.units.sizes import parse_bytes

_GC = ("enabled", "defaultKeepStorage", "defaultReservedSpace", "defaultMaxUsedSpace", "policy")
_RULE = ("all", "filter", "keepStorage", "reservedSpace", "maxUsedSpace")
_MOST = 100  # rules
_AGE = "720h"


@dataclass(frozen=True, slots=True)
class Rule:
    """`keep` is bytes, None a tenth of the disk, 0: all that the filter chooses goes."""

    filters: Filters
    all: bool = True
    keep: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """`rules` () is that nothing goes by itself."""

    rules: tuple[Rule, ...]

    def most(self, disk: int) -> int:
        """Bytes that the cache may have on a disk of so many, as far as a rule for everything says so."""
        keeps = [rule.keep for rule in self.rules if not any(rule.filters.items())]
        return min((disk // 10 if keep is None else keep for keep in keeps), default=disk)


def default(keep: int | None = None) -> Policy:
    return Policy((Rule(Filters({"unused-for": [_AGE]}), keep=0), Rule(Filters(), keep=keep)))


def parse(section: Mapping[str, Any]) -> Policy:
    """Of daemon.json's "builder". Raises Invalid with the key's name."""
    _check(section, ("gc", "entitlements"), "builder")
    gc = section["gc"] if section.get("gc") is not None else {}
    if not isinstance(gc, dict):
        raise Invalid("builder: gc is no object")
    _check(gc, _GC, "builder.gc")
    if not _flag(gc.get("enabled"), "enabled", True):
        return Policy(())
    keep = _keep(gc, ("defaultMaxUsedSpace", "defaultReservedSpace", "defaultKeepStorage"))
    rules = gc["policy"] if gc.get("policy") is not None else []
    if not isinstance(rules, list) or len(rules) > _MOST or not all(isinstance(each, dict) for each in rules):
        raise Invalid(f"builder.gc: policy is no list of at most {_MOST} objects")
    return Policy(tuple(_rule(each, keep) for each in rules)) if rules else default(keep)


def _rule(entry: Mapping[str, Any], keep: int | None) -> Rule:
    _check(entry, _RULE, "builder.gc.policy")
    own = _keep(entry, ("maxUsedSpace", "reservedSpace", "keepStorage"))
    return Rule(_filters(entry.get("filter")), _flag(entry.get("all"), "all", False), keep if own is None else own)


def _filters(given: Any) -> Filters:
    """A list of KEY=VALUE, or dockerd's object of objects."""
    found: dict[str, list[str]] = {}
    if isinstance(given, list) and all(isinstance(each, str) for each in given):
        for text in given:
            key, _, value = text.replace("==", "=").partition("=")
            found.setdefault(key, []).append(value)
    elif isinstance(given, dict) and all(isinstance(each, dict) for each in given.values()):
        found = {key: [value for value, wanted in each.items() if wanted] for key, each in given.items()}
    elif given is not None:
        raise Invalid("builder.gc.policy: filter is no list of KEY=VALUE")
    filters = Filters(found)
    try:
        usage.check(filters)
    except Invalid as error:
        raise Invalid(f"builder.gc.policy: {error}") from None
    return filters


def _keep(entry: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    for key in keys:
        if (value := entry.get(key)) not in (None, ""):
            try:
                return parse_bytes(str(value))
            except ValueError:
                raise Invalid(f"builder.gc: {key} cannot be {value!r}") from None
    return None


def _flag(value: Any, key: str, default_: bool) -> bool:
    if value is None:
        return default_
    if not isinstance(value, bool):
        raise Invalid(f"builder.gc: {key} cannot be {value!r}")
    return value


def _check(section: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    if unknown := sorted(set(section) - set(keys)):
        raise Invalid(f"{where}: unknown keys: {', '.join(unknown)}")
