"""Which targets a bake is of: groups, what is inherited, --set, and targets that others begin with."""

from __future__ import annotations

import os

from corten.cli.bakefiles import FLAG, KINDS, LINES, PAIRS, TEXTS, Bake, merged
from corten.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from corten.client.api import Json

_TARGET = "target:"
_DEPTH = 100
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
_ALIASES = {"platform": "platforms", "outputs": "output", "secrets": "secret"}


class Chosen:
    """`targets` by name, each behind those that it begins with; `asked` were named, or are in a group that was. `group`
    are the words themselves."""

    __slots__ = ("asked", "targets")

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked
        self.targets: dict[str, Json] = {}


def choose(bake: Bake, words: Sequence[str], changes: Iterable[str]) -> Chosen:
    """Raises CommandError for what is not there, and for circles."""
    asked = list(dict.fromkeys(name for word in words for name in _members(bake, word, ())))
    found = Chosen(asked)
    overrides = [_override(text) for text in changes]
    resolved = {name: _changed(name, _inherited(bake, name, ()), overrides) for name in bake.targets}
    for name in asked:
        _order(resolved, name, (), found.targets)
    return found


def _members(bake: Bake, name: str, within: tuple[str, ...]) -> list[str]:
    within = _deeper(f"the group {name} is in itself", within, name)
    if name in bake.groups:
        return [each for member in bake.groups[name] for each in _members(bake, member, within)]
    if name not in bake.targets:
        raise CommandError(f"failed to find target {name}")
    return [name]


def _inherited(bake: Bake, name: str, within: tuple[str, ...]) -> Json:
    if name not in bake.targets:
        raise CommandError(f"failed to find target {name}, which {within[-1]} inherits")
    within = _deeper(f"the target {name} inherits itself", within, name)
    own, found = bake.targets[name], dict[str, object]()
    for parent in own.get("inherits", []):
        found = merged(found, _inherited(bake, parent, within))
    return {key: value for key, value in merged(found, own).items() if key != "inherits"}


def _order(resolved: dict[str, Json], name: str, within: tuple[str, ...], found: dict[str, Json]) -> None:
    if name not in resolved:
        raise CommandError(f"failed to find target {name}, which is a context of {within[-1]}")
    within = _deeper(f"the target {name} begins with itself", within, name)
    if name in found:
        return
    for needed in needs(resolved[name]):
        _order(resolved, needed, within, found)
    found[name] = resolved[name]


def _deeper(circle: str, within: tuple[str, ...], name: str) -> tuple[str, ...]:
    """`within` and `name`. Raises CommandError for a circle, and for more than anything needs."""
    found = (*within, name)
    if name in within:
        raise CommandError(f"{circle}: {' -> '.join(found)}")
    if len(found) > _DEPTH:
        raise CommandError(f"{name} is more than {_DEPTH} groups or targets deep")
    return found


def needs(target: Json) -> list[str]:
    """The targets that it begins with or copies from."""
    values = target.get("contexts", {}).values()
    return [value.removeprefix(_TARGET) for value in values if str(value).startswith(_TARGET)]


# ---------------------------------------------------------------------------------------------------------------- --set


class _Override:
    __slots__ = ("adds", "key", "pattern", "sub", "value")

    def __init__(self, pattern: str, key: str, sub: str, value: str | None, adds: bool) -> None:
        self.pattern = pattern
        self.key = key
        self.sub = sub
        self.value = value
        self.adds = adds


def _override(text: str) -> _Override:
    """TARGET.KEY[.NAME]=VALUE, of a list also +=."""
    name, equals, value = text.partition("=")
    adds = name.endswith("+")
    pattern, dot, rest = name.removesuffix("+").partition(".")
    key, _, sub = rest.partition(".")
    key = _ALIASES.get(key, key)
    if not dot or not pattern or key not in KINDS or key in ("matrix", "name", "inherits"):
        raise CommandError(f"invalid override {text}, expected target.key=value")
    if (KINDS[key] is PAIRS) != bool(sub) or (not equals and key != "args"):
        raise CommandError(
            f"invalid override {text}, expected target.{key}{'.name' if KINDS[key] is PAIRS else ''}=value"
        )
    return _Override(pattern, key, sub, value if equals else os.environ.get(sub), adds)


def _changed(name: str, target: Json, overrides: Sequence[_Override]) -> Json:
    from fnmatch import fnmatchcase

    found, begun = dict(target), set[str]()
    for each in overrides:
        if not fnmatchcase(name, each.pattern):
            continue
        if KINDS[each.key] is PAIRS:
            found[each.key] = {**found.get(each.key, {}), each.sub: each.value}
        elif KINDS[each.key] in (TEXTS, LINES):
            before = found.get(each.key, []) if each.adds or each.key in begun else []
            found[each.key] = [*before, *([each.value] if each.value else [])]
            begun.add(each.key)
        else:
            found[each.key] = _truth(each) if KINDS[each.key] is FLAG else each.value
    return found


def _truth(override: _Override) -> bool:
    value = str(override.value).lower()
    if value not in (*_TRUE, *_FALSE):
        raise CommandError(f"invalid value {override.value} for boolean key {override.key}")
    return value in _TRUE


# ------------------------------------------------------------------------------------------- as words of corten build


def words(name: str, target: Json, contexts: dict[str, str]) -> list[str]:
    """Its options, and the context; `contexts` are images of targets that it begins with, by their name."""
    where = target.get("context", ".")
    found = [f"--build-arg={_pair(*each)}" for each in target.get("args", {}).items()]
    found += [f"--label={key}={value}" for key, value in target.get("labels", {}).items()]
    found += [f"--add-host={key}:{value}" for key, value in target.get("extra-hosts", {}).items()]
    for key, value in target.get("contexts", {}).items():
        if value.startswith(_TARGET):
            value = f"docker-image://{contexts[value.removeprefix(_TARGET)]}"
        found.append(f"--build-context={key}={value}")
    for key, option in _OPTIONS.items():
        values = target.get(key, [])
        found += [f"--{option}={value}" for value in (values if isinstance(values, list) else [values])]
    for key in ("attest", "output", "secret", "cache-from", "cache-to"):
        found += [f"--{key}={_line(value)}" for value in target.get(key, [])]
    found += [f"--ssh={_agent(value)}" for value in target.get("ssh", [])]
    found += [f"--platform={','.join(target['platforms'])}"] if target.get("platforms") else []
    found += [f"--{key}" for key in ("no-cache", "pull") if target.get(key)]
    if "dockerfile" in target and "dockerfile-inline" not in target:
        local = os.path.isdir(where) and not os.path.isabs(target["dockerfile"])
        found.append(f"--file={os.path.join(where, target['dockerfile']) if local else target['dockerfile']}")
    return [*found, "--", where]


_OPTIONS = {"tags": "tag", "no-cache-filter": "no-cache-filter", "target": "target", "network": "network",
            "shm-size": "shm-size", "annotations": "annotation", "entitlements": "allow",
            "ulimits": "ulimit"}  # fmt: skip


def _pair(name: str, value: Any) -> str:
    if isinstance(value, bool):
        value = "true" if value else "false"
    return name if value is None else f"{name}={value}"


def _line(value: Any) -> str:
    return value if isinstance(value, str) else ",".join(_pair(key, each) for key, each in value.items())


def _agent(value: Any) -> str:
    if isinstance(value, str):
        return value
    paths = value.get("paths") or []
    return f"{value.get('id', 'default')}{'=' + ','.join(paths) if paths else ''}"
