"""One invocation of `corten compose`: its global flags, the project, the engine."""

from __future__ import annotations

import os

from corten.cli.output import err
from corten.units.booleans import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeVar

    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.client.api import Client
    from corten.compose.loader import Model, Options
    from corten.compose.model import Project

    T = TypeVar("T")


class ComposeSession:
    """`flags` are the global ones. Nothing is read or connected before it is asked for."""

    def __init__(self, session: Session, flags: Flags, command: str) -> None:
        self.session = session
        self.flags = flags
        self.command = command
        self.fetched: dict[str, str] = {}  # where files that are not of this machine are, by their place
        self._warned: set[str] = set()

    @property
    def client(self) -> Client:
        """Raises Unreachable when there is no daemon."""
        return self.session.client

    def beside(self) -> ComposeSession:
        """The same for another thread, on connections of its own."""
        import copy

        made = copy.copy(self)
        made.session = self.session.beside()
        return made

    @property
    def dry_run(self) -> bool:
        return self.flags.on("dry-run")

    @property
    def compatibility(self) -> bool:
        """Whether containers' names have _ instead of -."""
        return self.flags.on("compatibility") or _on("COMPOSE_COMPATIBILITY")

    @property
    def given_name(self) -> str:
        """The project's name where flag or variable gives one: enough for commands that need no files."""
        return self.flags.text("project-name") or os.environ.get("COMPOSE_PROJECT_NAME", "")

    def options(self, services: Sequence[str] = (), **changes: bool) -> Options:
        """What `load` gets; `changes` are fields of Options that turn steps off."""
        from msgspec.structs import replace

        from corten.compose.loader import Options

        flags = self.flags
        return replace(
            Options(
                files=tuple(flags.many("file")),
                name=flags.text("project-name"),
                profiles=tuple(flags.many("profile")),
                env_files=tuple(flags.many("env-file")),
                directory=flags.text("project-directory") or flags.text("workdir"),
                environ=dict(os.environ),
                services=tuple(services),
                all_resources=flags.on("all-resources"),
                compatibility=self.compatibility,
                fetch=self._fetched,
            ),
            **changes,
        )

    def project(self, services: Sequence[str] = (), **changes: bool) -> Project:
        """Of these services and what they depend on; of all without any. Warnings are shown once.

        Raises ComposeError with file, line and remedy.
        """
        from corten.compose.loader import load

        project = self._loaded(lambda: load(self.options(services, **changes)))
        self.warn(project.warnings)
        return project

    def every_profile(self) -> Project:
        """The whole project; `env_file` of its services is still there beside the variables of those files."""
        from msgspec.structs import replace

        from corten.compose.loader import load
        from corten.compose.loader.variablefiles import with_variables

        options = replace(self.options(resolve_env=False), profiles=("*",), all_resources=True)
        project = self._loaded(lambda: load(options))
        read = with_variables(project)
        self.warn(read.warnings)
        services = {
            name: replace(each, env_file=project.services[name].env_file) for name, each in read.services.items()
        }
        return replace(read, services=services)

    def model(self, **changes: bool) -> Model:
        """The project as a tree, without types."""
        from corten.compose.loader import load_model

        model = self._loaded(lambda: load_model(self.options((), **changes)))
        self.warn(model.warnings)
        return model

    def _loaded(self, load: Callable[[], T]) -> T:
        from corten.compose.errors import ComposeError

        try:
            return load()
        except ComposeError as error:
            self.warn(error.warnings)
            raise

    def _fetched(self, place: str) -> str:
        if place not in self.fetched:
            self.fetched[place] = self._fetch(place)
        return self.fetched[place]

    def _fetch(self, place: str) -> str:
        if not place.startswith("oci://"):
            from corten.cli.compose import remote

            return remote.fetch(place, os.environ)
        from corten.cli.compose import artifacts

        return artifacts.fetch(place, os.environ, self.session.config, self.flags.many("insecure-registry"))

    def warn(self, warnings: Iterable[str]) -> None:
        for each in warnings:
            if each not in self._warned:
                self._warned.add(each)
                err(f"WARNING: {each}")


def _on(variable: str) -> bool:
    try:
        return parse_bool(os.environ.get(variable, "0"))
    except ValueError:
        return False
