"""A project: what all files together say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from corten.compose.model.resources import Config, Model, Network, Secret, Volume
from corten.compose.model.service import Service
from corten.compose.model.struct import Struct


class Position(msgspec.Struct, frozen=True):
    """Where something is said: lines and columns count from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Project(Struct, frozen=True, kw_only=True):
    always: ClassVar[frozenset[str]] = frozenset(("services",))
    hidden: ClassVar[frozenset[str]] = frozenset(
        ("working_dir", "files", "env_files", "environment", "disabled", "profiles", "positions", "warnings")
    )

    name: str = ""
    services: Mapping[str, Service] = {}
    """Those that are active: without profiles, or with one that is switched on."""
    networks: Mapping[str, Network] = {}
    """Only those that an active service uses, unless all were asked for; so for volumes, secrets and configs."""
    volumes: Mapping[str, Volume] = {}
    secrets: Mapping[str, Secret] = {}
    configs: Mapping[str, Config] = {}
    models: Mapping[str, Model] = {}

    working_dir: str = ""
    """The project's directory, absolute: relative paths are relative to it."""
    files: tuple[str, ...] = ()
    """Absolute paths of the files, in their order; "-" is standard input."""
    env_files: tuple[str, ...] = ()
    """Files of variables that were given by --env-file or COMPOSE_ENV_FILES."""
    environment: Mapping[str, str] = {}
    """What texts were interpolated with: the process's environment over .env, and COMPOSE_PROJECT_NAME."""
    disabled: Mapping[str, Service] = {}
    """Services whose profiles are not switched on."""
    profiles: tuple[str, ...] = ()
    """Those that are switched on."""
    positions: Mapping[str, Position] = {}
    """Where things are said, by path: "services.web", "services.web.ports.0", "networks.front"; the last file's."""
    warnings: tuple[str, ...] = ()
    """One line each: what has no effect, variables that are not set, with file and line."""

    def image_of(self, service: Service) -> str:
        """The name of its image: the given one, else PROJECT-SERVICE."""
        return service.image or f"{self.name}-{service.name}"

    def position(self, path: str) -> Position | None:
        """Of a path, or of the nearest part above it that is known."""
        while path:
            if (found := self.positions.get(path)) is not None:
                return found
            path = path.rpartition(".")[0]
        return None

    def dependents(self, name: str) -> tuple[str, ...]:
        """Active services that depend on this one, by name."""
        return tuple(sorted(each for each, service in self.services.items() if name in service.depends_on))
