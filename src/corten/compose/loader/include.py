"""`include`: files that are loaded as a project of their own, whose services and resources are added to this one."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from corten.compose.document import Tree, Value
from corten.compose.errors import ComposeError
from corten.compose.loader.environ import variables_of
from corten.compose.loader.loading import Loading, Scope
from corten.compose.loader.texts import printed

SECTIONS = ("services", "volumes", "networks", "secrets", "configs", "models")
DEPTH = 20  # includes within includes

Load = Callable[[tuple[str, ...], Scope], Tree]


class _Entry(msgspec.Struct, frozen=True):
    paths: tuple[str, ...]
    directory: str
    env_files: tuple[str, ...]


def include(tree: Tree, path: str, loading: Loading, scope: Scope, load: Load) -> None:
    """Add to the tree of the file `path` what it includes. Raises ComposeError."""
    entries = tree.pop("include", None)
    if entries is None:
        return
    if not isinstance(entries, list):
        raise ComposeError(f"`include` must be a list, got {printed(entries)}"[:200], path="include")
    scope = msgspec.structs.replace(scope, included=(*scope.included, path))
    for at, each in enumerate(entries):
        where = f"include.{at}"
        try:
            entry = _entry(each, where)
            own, files = _scope(entry, loading, scope, where)
            found = load(files, own)
        except ComposeError as error:
            error.path = error.path or where
            raise
        for section in SECTIONS:
            _import(found, tree, section)


def _entry(value: Value, where: str) -> _Entry:
    given: Tree = value if isinstance(value, dict) else {"path": value}
    directory = given.get("project_directory") or ""
    if not isinstance(directory, str):
        raise ComposeError(f"{where}.project_directory must be a string", path=f"{where}.project_directory")
    return _Entry(_texts(given, "path", where), directory, _texts(given, "env_file", where))


def _texts(given: Tree, key: str, where: str) -> tuple[str, ...]:
    value = given.get(key)
    values = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in values):
        raise ComposeError(f"{where}.{key} must be a array or string", path=f"{where}.{key}")
    return tuple(printed(each) for each in values)


def _scope(entry: _Entry, loading: Loading, scope: Scope, where: str) -> tuple[Scope, tuple[str, ...]]:
    if not entry.paths:
        raise ComposeError("no compose file specified", path=where)
    files = tuple(scope.within(loading.local(path)) for path in entry.paths)
    if files[0] in scope.included:
        ring = "\n include ".join((*scope.included[1:], files[0]))
        said = f"include cycle detected:\n{scope.included[0]}\n include {ring}"
        raise ComposeError(said, path=where, remedy="remove this include")
    if len(scope.included) > DEPTH:
        raise ComposeError(f"more than {DEPTH} files include one another", path=where)
    if not entry.directory:
        directory, base = scope.directory_of(files[0]), files[0].rpartition("/")[0] or "/"
    else:
        base = scope.within(entry.directory)
        directory = entry.directory if entry.directory.startswith("/") else scope.directory_of(entry.directory)
    environment = variables_of(_env_files(entry, base, scope, where), scope.environment, loading.warn)
    return (
        Scope(
            directory=directory,
            base=base,
            environment={**environment, **scope.environment},
            included=scope.included,
        ),
        files,
    )


def _env_files(entry: _Entry, base: str, scope: Scope, where: str) -> list[str]:
    if not entry.env_files:
        usual = f"{base}/.env"
        return [usual] if os.path.isfile(usual) else []
    files = [scope.within(path) for path in entry.env_files]
    for file in files:
        if not os.path.exists(file):
            raise ComposeError(f"stat {file}: no such file or directory", path=f"{where}.env_file")
        if os.path.isdir(file):
            raise ComposeError(f"{file} is not a file", path=f"{where}.env_file")
    return files


def _import(source: Tree, target: Tree, section: str) -> None:
    found = source.get(section)
    if not isinstance(found, dict):
        return
    known = target.setdefault(section, {})
    if not isinstance(known, dict):
        raise ComposeError(f"{section} must be a mapping", path=section)
    for name, value in found.items():
        if name in known and known[name] != value:
            said = f"{section}.{name} conflicts with imported resource"
            raise ComposeError(said, path=f"{section}.{name}", remedy="rename one of them, or use extends")
        known[name] = value
