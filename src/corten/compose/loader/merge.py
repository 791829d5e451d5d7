"""A later file over an earlier one, and a service over the one that it extends.

Mappings are merged, lists are appended, other values are replaced, except at the paths of RULES.
https://github.com/compose-spec/compose-spec/blob/main/13-merge.md
"""

from __future__ import annotations

from collections.abc import Callable

from corten.compose.document import Tree, Value
from corten.compose.errors import ComposeError
from corten.compose.loader.rules import Rules
from corten.compose.loader.texts import printed

Merge = Callable[[Value, Value, str, "Rules[Merge]"], Value]


def merged(earlier: Tree, later: Tree) -> Tree:
    """Of whole projects. `earlier` is changed. Raises ComposeError with the path."""
    return _mappings(earlier, later, "", RULES)


def merged_service(base: Tree, service: Tree, name: str) -> Tree:
    """Of two services; `base` is changed."""
    return _mappings(base, service, f"services.{name}", RULES.step("services").step("*"))


def _mappings(earlier: Tree, later: Tree, path: str, rules: Rules[Merge]) -> Tree:
    for key, value in later.items():
        if key in earlier:
            below = f"{path}.{key}" if path else key
            earlier[key] = _values(earlier[key], value, below, rules.step(key))
        else:
            earlier[key] = value
    return earlier


def _values(earlier: Value, later: Value, path: str, rules: Rules[Merge]) -> Value:
    if rules.found is not None:
        return rules.found(earlier, later, path, rules)
    if later is None:
        return earlier
    if isinstance(earlier, dict):
        if not isinstance(later, dict):
            raise ComposeError(f"cannot override {path}", path=path, remedy="both files must have a mapping there")
        return _mappings(earlier, later, path, rules)
    if isinstance(earlier, list):
        if not isinstance(later, list):
            raise ComposeError(f"cannot override {path}", path=path, remedy="both files must have a list there")
        return [*earlier, *later]
    return later


def _replaced(earlier: Value, later: Value, path: str, rules: Rules[Merge]) -> Value:
    return later


def _appended(earlier: Value, later: Value, path: str, rules: Rules[Merge]) -> Value:
    return [*_listed(earlier), *_listed(later)]


def _hosts(earlier: Value, later: Value, path: str, rules: Rules[Merge]) -> Value:
    first = _listed(earlier)
    return [*first, *(each for each in _listed(later) if each not in first)]


def _listed(value: Value) -> list[Value]:
    """KEY=VALUE of a mapping, sorted."""
    if isinstance(value, dict):
        found: list[Value] = []
        for key, each in value.items():
            if each is None:
                found.append(key)
            else:
                found += [f"{key}={printed(one)}" for one in (each if isinstance(each, list) else [each])]
        return sorted(found, key=str)
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, str) else []


def _build(earlier: Value, later: Value, path: str, rules: Rules[Merge]) -> Value:
    return _mappings(_context(earlier), _context(later), path, rules)


def _context(value: Value) -> Tree:
    if isinstance(value, str):
        return {"context": value}
    return value if isinstance(value, dict) else {}


def _keyed(default: Callable[[], Value]) -> Merge:
    def merge(earlier: Value, later: Value, path: str, rules: Rules[Merge]) -> Value:
        return _mappings(_mapped(earlier, default), _mapped(later, default), path, rules)

    return merge


def _mapped(value: Value, default: Callable[[], Value]) -> Tree:
    if isinstance(value, dict):
        return value
    return {each: default() for each in value if isinstance(each, str)} if isinstance(value, list) else {}


def _logging(earlier: Value, later: Value, path: str, rules: Rules[Merge]) -> Value:
    if not isinstance(earlier, dict) or not isinstance(later, dict):
        return later
    drivers = [each["driver"] for each in (earlier, later) if "driver" in each]
    return _mappings(earlier, later, path, rules) if len(drivers) < 2 or drivers[0] == drivers[1] else later


def _pools(earlier: Value, later: Value, path: str, rules: Rules[Merge]) -> Value:
    """IPAM's, by subnet: as Compose pairs them, a pool of the earlier file stays only beside one of its subnet."""
    if not isinstance(earlier, list) or not isinstance(later, list):
        raise ComposeError(f"{path}: unexpected type", path=path)
    found: list[Value] = []

    def place(subnet: Value) -> int:
        return next(
            (at for at, each in enumerate(found) if isinstance(each, dict) and each.get("subnet") == subnet), -1
        )

    for one in earlier:
        first = one if isinstance(one, dict) else {}
        for other in later:
            second = other if isinstance(other, dict) else {}
            if first.get("subnet") != second.get("subnet") and place(second.get("subnet")) < 0:
                found.append(second)
                continue
            first = _mappings(first, second, path, rules)
            at = place(first.get("subnet"))
            if at >= 0:
                found[at] = first
            else:
                found.append(first)
    return found


def _started() -> Value:
    return {"condition": "service_started", "required": True}


def _nothing() -> Value:
    return None


_APPENDED = (
    "annotations build.args build.additional_contexts build.labels deploy.labels dns dns_opt dns_search env_file"
    " label_file environment labels sysctls tmpfs volumes.*.volume.labels"
).split()

RULES: Rules[Merge] = Rules(
    {
        **{f"services.*.{path}": _appended for path in _APPENDED},
        **{f"services.*.{path}": _replaced for path in ("command", "entrypoint", "healthcheck.test", "ulimits.*")},
        "networks.*.ipam.config": _pools,
        "networks.*.labels": _appended,
        "volumes.*.labels": _appended,
        "services.*.build": _build,
        "services.*.build.extra_hosts": _hosts,
        "services.*.extra_hosts": _hosts,
        "services.*.depends_on": _keyed(_started),
        "services.*.logging": _logging,
        "services.*.models": _keyed(_nothing),
        "services.*.networks": _keyed(_nothing),
    }
)
