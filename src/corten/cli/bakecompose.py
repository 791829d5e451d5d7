"""Compose files as bake files: each service that has a `build` is a target, and all of them are the group default.

build:
  context: .
  x-bake: {tags: [app:2], platforms: [linux/amd64], cache-to: [type=inline]}      # what Compose has no words for
"""

from __future__ import annotations

import os

from corten.cli.bakefiles import KINDS, PAIRS, Bake, check_target, merged
from corten.cli.errors import CommandError
from corten.cli.output import err

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from corten.client.api import Json
    from corten.compose.model import Project

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_EXTENSION = "x-bake"
_READ = ("attest", "cache-from", "cache-to", "contexts", "entitlements", "no-cache", "no-cache-filter", "output",
         "platforms", "pull", "secret", "ssh", "tags")  # fmt: skip
_PLURALS = {"outputs": "output", "secrets": "secret", "no-cache-filters": "no-cache-filter"}
_NAME = "bake"  # of the project: no image is called by it


def is_compose(path: str) -> bool:
    return path.endswith((".yaml", ".yml"))


def add(found: Bake, paths: Sequence[str]) -> None:
    """All files are one project, as `corten compose -f A -f B` reads them. Raises CommandError."""
    project = _loaded(paths)
    for name, service in project.services.items():
        if service.build is not None:
            found.targets[_named(name)] = _target(project, name)
    found.groups["default"] = list(found.targets)


def _loaded(paths: Sequence[str]) -> Project:
    from corten.cli import libraries

    libraries.find()
    from corten.compose.errors import ComposeError
    from corten.compose.loader.load import load
    from corten.compose.loader.options import Options

    try:
        project = load(Options(files=tuple(paths), name=_NAME, profiles=("*",), environ=dict(os.environ)))
    except ComposeError as error:
        raise CommandError(str(error)) from None
    for warning in project.warnings:
        err(f"WARNING: {warning}")
    return project


def _named(service: str) -> str:
    """A dot would be part of what --set changes."""
    return service.replace(".", "_")


def _target(project: Project, name: str) -> Json:
    from corten.cli.compose.building import target

    service = project.services[name]
    build = service.build
    assert build is not None
    found = target(project, service)
    found["labels"] = dict(build.labels)
    found["tags"] = [*([service.image] if service.image else []), *build.tags]  # and none that Compose makes up
    found["contexts"] = {key: _context(value) for key, value in found.get("contexts", {}).items()}
    found = {key: value for key, value in found.items() if value}
    return _extended(f"{project.files[-1]}: services.{name}.build", found, build.extensions.get(_EXTENSION))


def _context(value: str) -> str:
    kind, colon, name = value.partition(":")
    return f"target:{_named(name)}" if kind == "target" and colon else value


def _extended(where: str, target: Json, given: Any) -> Json:
    if given is None:
        return target
    if not isinstance(given, dict):
        raise CommandError(f"{where}.{_EXTENSION} is no object")
    more: Json = {_PLURALS.get(str(key), str(key)): value for key, value in given.items()}
    for key, value in more.items():
        if key not in _READ:
            raise CommandError(f"{where}.{_EXTENSION}: unknown attribute {key}")
        if isinstance(value, str) and KINDS[key] is not PAIRS:
            more[key] = [value]
    check_target(f"{where}.{_EXTENSION}", more)
    return merged(target, more)
