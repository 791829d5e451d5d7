"""The command line behind `corten compose`: its flags, its table, the command, its exit code."""

from __future__ import annotations

from corten.cli.compose import table, usage
from corten.cli.compose.session import ComposeSession
from corten.cli.errors import CommandError, UsageError
from corten.cli.flags import BOOL, INT, LIST, STRING, HelpWanted, flag, parse
from corten.cli.output import err, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.command import ComposeCommand
    from corten.cli.flags import Flags
    from corten.cli.session import Session

FLAGS = (
    flag("all-resources", BOOL, "Include all resources, even those that no service uses"),
    flag("ansi", STRING, 'When to draw with colours: "never", "always" or "auto"', default="auto"),
    flag("compatibility", BOOL, "Name containers as Compose's first version did"),
    flag("dry-run", BOOL, "Show what would be done, and do nothing"),
    flag("env-file", LIST, "Read variables from this file instead of .env"),
    flag("file", LIST, "The Compose file (- is standard input); several are merged", "f"),
    flag("insecure-registry", LIST, "A registry of Compose files that may do without TLS", hidden=True),
    flag("parallel", INT, "How many things are done at the same time; -1 is no limit", default=-1),
    flag("profile", LIST, 'Switch a profile on; "*" is all'),
    flag("progress", STRING, "How progress is shown: auto, tty, plain, json or quiet", default="auto"),
    flag("project-directory", STRING, "Where relative paths begin, instead of the directory of the first file"),
    flag("project-name", STRING, "The project's name", "p"),
    flag("verbose", BOOL, "Accepted and not used", hidden=True),
    flag("version", BOOL, "Show the version and end", "v"),
    flag("workdir", STRING, "The old name of --project-directory", hidden=True),
)

FAILED = 1  # of a wrong command line too, as with Docker Compose


def run(session: Session, words: list[str]) -> int:
    """Run one command line and answer its exit code."""
    try:
        flags = parse(FLAGS, words, interspersed=False)
    except UsageError as error:
        err(f"{error}\nSee 'corten compose --help'.")
        return FAILED
    except HelpWanted:
        return usage.show("", FLAGS)
    if flags.on("version"):
        from corten import __version__

        out(f"Corten version {__version__}")
        return 0
    if not flags.words or flags.words[0] == "help":
        return usage.show(flags.words[1] if len(flags.words) > 1 else "", FLAGS)
    return _dispatch(session, flags)


def _load_msgspec() -> None:
    """Where typing_extensions is not there, msgspec takes what it needs of typing. Loading it, and inspect with it,
    takes a tenth of the time in which a command gets to its first request."""
    import sys

    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
    try:
        __import__("msgspec")
    finally:
        del sys.modules["typing_extensions"]


def _dispatch(session: Session, flags: Flags) -> int:
    name, *rest = flags.words
    found = table.find(name)
    if found is None:
        return usage.refuse(name)
    if "--help" not in rest:  # which some commands tell without it
        _load_msgspec()
    module = __import__(f"corten.cli.compose.commands.{found.module}", fromlist=["COMMAND"])
    command: ComposeCommand = module.COMMAND
    session.path = f"compose {name}"
    try:
        given = parse(command.flags, rest, command.interspersed)
        command.check_words(session.path, given.words)
    except UsageError as error:
        err(f"{error}\nSee 'corten {session.path} --help'.")
        return FAILED
    except HelpWanted:
        return usage.show(name, FLAGS)
    except CommandError as error:
        err(str(error))
        return FAILED
    return command.perform(ComposeSession(session, flags, name), given)
