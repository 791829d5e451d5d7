"""What a command of `compose` is."""

from __future__ import annotations

from corten.cli.command import ANY, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from corten.cli.compose.session import ComposeSession
    from corten.cli.flags import Flag, Flags
    from corten.cli.session import Session

    Run = Callable[[ComposeSession, Flags], int]


class ComposeCommand(Command):
    """As `Command`; `perform` gets the session of `compose` and answers the exit code.

    It may raise any CortenError: the message is shown and the exit code is 1, a CommandError's own where it has one.
    """

    __slots__ = ("perform",)

    def __init__(
        self,
        perform: Run,
        usage: str,
        short: str,
        flags: Sequence[Flag] = (),
        least: int = 0,
        most: int = ANY,
        interspersed: bool = True,
    ) -> None:
        super().__init__(_never, usage, short, flags, least, most, interspersed)
        self.perform = perform


def _never(session: Session, flags: Flags) -> int:
    raise AssertionError("a command of compose is run by its own entry")
