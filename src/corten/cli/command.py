"""What a command is: its usage line, its flags, and the function that does it."""

from __future__ import annotations

from corten.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from corten.cli.flags import Flag, Flags
    from corten.cli.session import Session

    Run = Callable[[Session, Flags], int]

ANY = -1


class Command:
    """`usage` is what follows the command's name; it takes `least` to `most` words (ANY: no limit).

    `failure` is the exit code when the daemon refuses (125 for run, 1 elsewhere); a command that sets it also has its
    errors introduced by "corten: ".
    """

    __slots__ = ("failure", "flags", "interspersed", "least", "most", "raw", "run", "short", "usage")

    def __init__(
        self,
        run: Run,
        usage: str,
        short: str,
        flags: Sequence[Flag] = (),
        least: int = 0,
        most: int = ANY,
        interspersed: bool = True,
        failure: int = 1,
        raw: bool = False,
    ) -> None:
        self.run = run
        self.usage = usage
        self.short = short
        self.flags = flags
        self.least = least
        self.most = most
        self.interspersed = interspersed
        self.failure = failure
        # Its words are another program's: no flag is looked for in them.
        self.raw = raw

    def check_words(self, path: str, words: Sequence[str]) -> None:
        """Raises CommandError in Docker's words when there are too few or too many."""
        count = len(words)
        if count >= self.least and (self.most == ANY or count <= self.most):
            return
        if self.most == 0:
            demand = "accepts no arguments"
        elif self.least == self.most:
            demand = f"requires {self.least} {_arguments(self.least)}"
        elif self.most == ANY:
            demand = f"requires at least {self.least} {_arguments(self.least)}"
        elif count > self.most and self.least == 0:
            demand = f"requires at most {self.most} {_arguments(self.most)}"
        else:
            demand = f"requires at least {self.least} and at most {self.most} arguments"
        usage = f"Usage:  corten {path} {self.usage}".rstrip()
        raise CommandError(
            f"corten: 'corten {path}' {demand}\n\n{usage}\n\nSee 'corten {path} --help' for more information"
        )


def _arguments(count: int) -> str:
    return "argument" if count == 1 else "arguments"
