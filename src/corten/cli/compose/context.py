"""What a command that talks to an engine gets, and what such a command is."""

from __future__ import annotations

import os

from corten.cli.command import ANY
from corten.cli.compose.command import ComposeCommand
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from corten.cli.compose.session import ComposeSession
    from corten.cli.flags import Flag, Flags
    from corten.cli.session import Session
    from corten.client.api import Client
    from corten.compose.model import Project

    Act = Callable[["Compose", Flags], int]

_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_SHOWING = (
    flag("dry-run", BOOL, "Show what would be done, and do nothing"),
    flag("explain", BOOL, "Show each step and why it is done"),
)


class Compose:
    """One invocation: its project and its engine, each looked for when it is asked for."""

    def __init__(self, outer: ComposeSession, flags: Flags) -> None:
        self.outer = outer
        self.dry_run = outer.dry_run or flags.on("dry-run")
        self.explain = flags.on("explain")
        self.parallel = outer.flags.number("parallel")
        given = outer.flags.text("progress")
        self.progress = given if "progress" in outer.flags else os.environ.get("COMPOSE_PROGRESS", "") or given
        self.colour = outer.flags.text("ansi") != "never"
        self._projects: dict[tuple[str, ...], Project] = {}

    @property
    def session(self) -> Session:
        return self.outer.session

    @property
    def client(self) -> Client:
        return self.outer.client

    def beside(self) -> Compose:
        """The same for another thread, on connections of its own."""
        import copy

        made = copy.copy(self)
        made.outer = self.outer.beside()
        return made

    def project(self, services: Sequence[str] = ()) -> Project:
        """With these services and what they depend on, or with all. Raises ComposeError."""
        key = tuple(services)
        if key not in self._projects:
            self._projects[key] = self.outer.project(services)
        return self._projects[key]

    def project_if_any(self) -> Project | None:
        """None when the project is named (-p) and there are no files. Raises ComposeError for files that are wrong."""
        outer = self.outer
        if outer.given_name and not outer.flags.many("file") and not os.environ.get("COMPOSE_FILE"):
            directory = outer.flags.text("project-directory") or os.getcwd()
            if not _has_file(directory):
                return None
        return self.project()

    @property
    def name(self) -> str:
        """The project's; that of -p where there are no files. Raises ComposeError."""
        found = self.project_if_any()
        return found.name if found is not None else self.outer.given_name


def _has_file(directory: str) -> bool:
    """There or in a directory above."""
    while True:
        if any(os.path.exists(os.path.join(directory, name)) for name in _NAMES):
            return True
        above = os.path.dirname(directory)
        if above == directory:
            return False
        directory = above


class Command(ComposeCommand):
    """`act` gets a Compose; --dry-run and --explain are taken behind the command as well."""

    __slots__ = ("_act",)

    def __init__(
        self,
        act: Act,
        usage: str,
        short: str,
        flags: Sequence[Flag] = (),
        least: int = 0,
        most: int = ANY,
        interspersed: bool = True,
    ) -> None:
        super().__init__(self._go, usage, short, (*flags, *_SHOWING), least, most, interspersed)
        self._act = act

    def _go(self, session: ComposeSession, flags: Flags) -> int:
        from corten.compose.refusals import Refused

        try:
            return self._act(Compose(session, flags), flags)
        except Refused as refused:
            raise CommandError(str(refused), refused.code) from None


def refuse_both(flags: Flags, *names: str) -> None:
    """Raises CommandError when more than one of these is given."""
    given = [name for name in names if name in flags]
    if len(given) > 1:
        raise CommandError(f"--{given[0]} and --{given[1]} are incompatible")
