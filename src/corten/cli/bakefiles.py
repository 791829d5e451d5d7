"""Bake files: docker-bake.json in buildx's schema, read, checked and merged; Compose files (`cli.bakecompose`).

    {"group": {NAME: {"targets": [NAME]}}, "target": {NAME: {"context": ..., "tags": [...], ...}}}

What buildx would evaluate in a text (`${...}`, `%{...}`) is HCL, and refused; `$${` is `${`.
"""

from __future__ import annotations

import os
from itertools import product

from corten.cli.errors import CommandError
from corten.cli.output import err
from corten.client import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from corten.client.api import Json

DEFAULTS = ("docker-bake.json", "docker-bake.override.json")
_OTHERS = ("docker-bake.hcl", "docker-bake.override.hcl")
TEXT, TEXTS, FLAG, PAIRS, LINES, SHAPES = "a string", "a list of strings", "a boolean", "an object of strings", (
    "a list of strings or objects"
), "an object of lists"  # fmt: skip
KINDS: Mapping[str, str] = {
    "annotations": TEXTS, "args": PAIRS, "attest": LINES, "cache-from": LINES, "cache-to": LINES, "context": TEXT,
    "contexts": PAIRS, "description": TEXT,
    "dockerfile": TEXT, "dockerfile-inline": TEXT, "entitlements": TEXTS, "extra-hosts": PAIRS, "inherits": TEXTS,
    "labels": PAIRS, "matrix": SHAPES, "name": TEXT, "network": TEXT, "no-cache": FLAG, "no-cache-filter": TEXTS,
    "output": LINES, "platforms": TEXTS, "pull": FLAG, "secret": LINES, "shm-size": TEXT, "ssh": LINES, "tags": TEXTS,
    "target": TEXT, "ulimits": TEXTS,
}  # fmt: skip
_UNSUPPORTED = ("call", "policy")
_ADDED = (
    "annotations",
    "attest",
    "cache-from",
    "cache-to",
    "entitlements",
    "secret",
    "ssh",
)  # of which those of all files and parents count
_SIZE = 4 << 20  # bytes
_COMBINATIONS = 1000


class Bake:
    """What the files say: targets and groups by name."""

    __slots__ = ("groups", "targets")

    def __init__(self) -> None:
        self.targets: dict[str, Json] = {}
        self.groups: dict[str, list[str]] = {}


def read(paths: Sequence[str]) -> Bake:
    """Compose files, which are one project, and then the others in their order, the later one winning; without any
    those that are there. Raises CommandError."""
    from corten.cli import bakecompose

    found, chosen = Bake(), paths or _present(bakecompose.NAMES)
    composed = [path for path in chosen if bakecompose.is_compose(path)]
    if composed:
        bakecompose.add(found, composed)
    for path in chosen:
        if path in composed:
            continue
        if path != "-" and not path.endswith(".json"):
            raise CommandError(
                f"{path}: HCL is not read yet by bake: write it as JSON (PATH.json) or as YAML of Compose"
            )
        _add(found, path, _document(path))
    return found


def _present(composed: Sequence[str]) -> list[str]:
    here = [name for name in (*composed, *DEFAULTS) if os.path.exists(name)]
    others = [name for name in _OTHERS if os.path.exists(name)]
    if not here:
        hint = f"; {others[0]} is here, but HCL is not read yet" if others else ""
        raise CommandError(f"couldn't find a bake definition: no docker-bake.json and no Compose file is here{hint}")
    if others:
        err(f"WARNING: HCL is not read yet: {', '.join(others)}")
    return here


def _document(path: str) -> Json:
    try:
        fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with open(fd, "rb", closefd=fd != 0) as file:
            data = file.read(_SIZE + 1)
    except OSError as error:
        raise CommandError(f"failed to read {path}: {(error.strerror or '').lower()}") from None
    if len(data) > _SIZE:
        raise CommandError(f"{path} is larger than {_SIZE} bytes")
    try:
        found = quickjson.loads(data)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"failed to parse {path}: {error}") from None
    if not isinstance(found, dict):
        raise CommandError(f"failed to parse {path}: it is no object")
    return found


def _add(found: Bake, path: str, document: Json) -> None:
    for key in document:
        if key in ("variable", "function"):
            raise CommandError(f"{path}: {key}: variables and functions are HCL, which is not read yet")
        if key not in ("group", "target"):
            raise CommandError(f"{path}: unknown attribute {key}")
    for name, group in _objects(document, "group", path).items():
        targets = group.get("targets", [])
        _check(f"{path}: group.{name}.targets", TEXTS, targets)
        found.groups[name] = targets
    for name, target in _objects(document, "target", path).items():
        check_target(f"{path}: target.{name}", target)
        for own, each in _expanded(f"{path}: target.{name}", name, target, found.groups).items():
            found.targets[own] = merged(found.targets.get(own, {}), each)


def _objects(document: Json, key: str, path: str) -> dict[str, Json]:
    found = document.get(key, {})
    if not isinstance(found, dict) or not all(isinstance(value, dict) for value in found.values()):
        raise CommandError(f"{path}: {key} is no object of objects")
    return found


def check_target(where: str, target: Json) -> None:
    for key, value in target.items():
        if key in _UNSUPPORTED:
            raise CommandError(f"{where}.{key} is not supported yet")
        if key not in KINDS:
            raise CommandError(f"{where}: unknown attribute {key}")
        _check(f"{where}.{key}", KINDS[key], value)


def _check(where: str, kind: str, value: Any) -> None:
    match kind:
        case "a string":
            right = isinstance(value, str)
        case "a boolean":
            right = isinstance(value, bool)
        case "a list of strings":
            right = isinstance(value, list) and all(isinstance(each, str) for each in value)
        case "a list of strings or objects":
            right = isinstance(value, list) and all(isinstance(each, str) or _is_plain(each) for each in value)
        case "an object of strings":
            right = _is_plain(value)
        case _:
            right = isinstance(value, dict) and all(isinstance(each, list) for each in value.values())
    if not right:
        raise CommandError(f"{where} is not {kind}")


def _is_plain(value: Any) -> bool:
    """Of texts, or lists of them (`paths` of ssh); null is a variable of ours."""
    if not isinstance(value, dict):
        return False
    return all(each is None or isinstance(each, str | int | float | bool | list) for each in value.values())


def merged(before: Json, after: Json) -> Json:
    """`after` over `before`: objects by their keys, what is added behind what was, the rest in its place."""
    found = dict(before)
    for key, value in after.items():
        if KINDS[key] is PAIRS:
            found[key] = {**found.get(key, {}), **value}
        elif key in _ADDED:
            found[key] = [*(each for each in found.get(key, []) if each not in value), *value]
        else:
            found[key] = value
    return found


# ---------------------------------------------------------------------------------------------------- texts, matrices


def _expanded(where: str, name: str, target: Json, groups: dict[str, list[str]]) -> dict[str, Json]:
    """The target, or those of its matrix, of which it is the group then."""
    matrix = target.get("matrix")
    rest = {key: value for key, value in target.items() if key not in ("matrix", "name")}
    if matrix is None:
        return {name: _each_text(rest, lambda text: _plain(where, text, {}))}
    if not target.get("name"):
        raise CommandError(f"{where}: a matrix needs a name for its targets: name")
    found: dict[str, Json] = {}
    for values in _combinations(where, matrix):
        own = _plain(where, target["name"], values)
        if own in found:
            raise CommandError(f"{where}: two targets of the matrix have the name {own}")
        found[own] = _each_text(rest, lambda text, values=values: _plain(where, text, values))  # type: ignore[misc]
    groups[name] = list(found)
    return found


def _combinations(where: str, matrix: Mapping[str, list[Any]]) -> list[dict[str, str]]:
    count = 1
    for key, values in matrix.items():
        count *= len(values)
        if not all(isinstance(value, str | int) and not isinstance(value, bool) for value in values):
            raise CommandError(f"{where}.matrix.{key}: only strings and numbers are read")
    if count > _COMBINATIONS:
        raise CommandError(f"{where}.matrix has more than {_COMBINATIONS} targets")
    return [dict(zip(matrix, map(str, values), strict=True)) for values in product(*matrix.values())]


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_text(each, change) for each in value]
    if isinstance(value, dict):
        return {key: _each_text(each, change) for key, each in value.items()}
    return value


def _plain(where: str, text: str, values: Mapping[str, str]) -> str:
    """With a matrix's values in place. Raises CommandError for another expression."""
    if "${" not in text and "%{" not in text:
        return text
    out, rest = "", text
    while True:
        at = min((found for mark in ("${", "%{") if (found := rest.find(mark)) >= 0), default=-1)
        if at < 0:
            return out + rest
        mark = rest[at]
        if at and rest[at - 1] == mark:
            out, rest = out + rest[:at] + "{", rest[at + 2 :]
            continue
        name = rest[at + 2 :].partition("}")[0].strip()
        if mark == "%" or name not in values:
            raise CommandError(f"{where}: expressions are HCL, which is not read yet: {rest[at : at + 40]!r}")
        out, rest = out + rest[:at] + values[name], rest[at + 2 :].partition("}")[2]
