"""`env_file` and `label_file`: their variables become the service's."""

from __future__ import annotations

import os
from collections.abc import Callable

from msgspec.structs import replace

from corten.compose.errors import ComposeError
from corten.compose.loader.files import read_file
from corten.compose.model import EnvFile, Project, Service
from corten.compose.variables import dotenv
from corten.compose.variables.template import Lookup

Warn = Callable[[str], object]


def with_variables(project: Project) -> Project:
    """What `environment` says goes before the last file, which goes before the others. Raises ComposeError."""
    said: dict[str, None] = dict.fromkeys(project.warnings)
    services = {name: _environment(service, project, said.setdefault) for name, service in project.services.items()}
    return replace(project, services=services, warnings=tuple(said))


def with_labels(project: Project) -> Project:
    """What `labels` says goes before the last file."""
    return replace(project, services={name: _labels(service) for name, service in project.services.items()})


def _environment(service: Service, project: Project, warn: Warn) -> Service:
    own = {
        name: project.environment.get(name) if value is None else value for name, value in service.environment.items()
    }

    def lookup(name: str) -> str | None:
        found = project.environment.get(name)
        return own.get(name) if found is None else found

    read: dict[str, str] = {name: value for name, value in own.items() if value is not None}
    for at, file in enumerate(service.env_file):
        try:
            _read(file, read, lookup, warn)
        except ComposeError as error:
            error.path = f"services.{service.name}.env_file.{at}"
            raise error.located(project.positions) from None
    return replace(service, environment={**read, **own}, env_file=())


def _read(file: EnvFile, variables: dict[str, str], lookup: Lookup, warn: Warn) -> None:
    if not os.path.exists(file.path):
        if not file.required:
            return
        said = f"env file {file.path} not found: stat {file.path}: no such file or directory"
        raise ComposeError(said, remedy="make it, or say required: false")
    data = read_file(file.path, dotenv.SIZE)
    match file.format:
        case "":
            dotenv.parse(data, file.path, lookup, variables, warn)
        case "raw":
            dotenv.parse_raw(data, file.path, lookup, variables)
        case _:
            raise ComposeError(f'unsupported env_file format "{file.format}"', remedy="raw is known")


def _labels(service: Service) -> Service:
    if not service.label_file:
        return service
    found: dict[str, str] = {}
    for path in service.label_file:
        if not os.path.exists(path):
            said = f"label file {path} not found: stat {path}: no such file or directory"
            raise ComposeError(said, path=f"services.{service.name}.label_file")
        found.update(dotenv.parse(read_file(path, dotenv.SIZE), path, found.get))
    return replace(service, labels={**found, **service.labels}, label_file=())
