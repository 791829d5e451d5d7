"""The entry point: global flags, the command's module, its flags, its exit code."""

from __future__ import annotations

import gc
import os
import sys

from corten.cli import signals, table
from corten.cli.errors import CommandError, UsageError
from corten.cli.flags import BOOL, LIST, STRING, HelpWanted, flag, parse
from corten.cli.output import err, out
from corten.cli.session import Session
from corten.cli.terminal import die_by
from corten.client.errors import ApiError, BadAnswer, Unreachable
from corten.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.command import Command
    from corten.cli.flags import Flags

GLOBAL_FLAGS = (
    flag("config", STRING, "Directory of the client's configuration"),
    flag("context", STRING, "Docker's name for the engine to talk to, instead of -H", "c"),
    flag("debug", BOOL, "Show where an error came from", "D"),
    flag("host", LIST, "Socket of the engine to talk to", "H"),
    flag("log-level", STRING, "Accepted and not used", "l", hidden=True),
    flag("tls", BOOL, "Speak TLS to a tcp:// host"),
    flag("tlscacert", STRING, "Trust certificates that this one has signed (ca.pem)"),
    flag("tlscert", STRING, "Our certificate (cert.pem)"),
    flag("tlskey", STRING, "Its key (key.pem)"),
    flag("tlsverify", BOOL, "Speak TLS and check who answers"),
    flag("version", BOOL, "Show the version and end", "v"),
)


COLLECT_AFTER = 100_000  # new objects


def entry() -> None:
    """Ends the process itself: all output is written by then, and tearing the interpreter down costs milliseconds."""
    # By default the garbage of importing a command's modules is collected every 700 objects, and there is none.
    gc.set_threshold(COLLECT_AFTER)
    # Otherwise Ctrl-C would be a traceback.
    signals.handle(signals.NUMBERS["INT"], signals.DEFAULT)
    try:
        code = main(sys.argv[1:])
    except BrokenPipeError:
        # The reader of our output has closed it; end as any program would. SIGPIPE itself stays ignored until here,
        # because a daemon that closes its socket must not end us.
        die_by(signals.NUMBERS["PIPE"])
        code = 128 + signals.NUMBERS["PIPE"]
    os._exit(code)


def main(words: list[str]) -> int:
    """Run one command line and answer its exit code."""
    try:
        flags = parse(GLOBAL_FLAGS, words, interspersed=False)
    except UsageError as error:
        err(f"{error}\nSee 'corten --help'.")
        return 125
    except HelpWanted:
        return _help("")
    if flags.on("version"):
        from corten import __version__

        out(f"Corten version {__version__}")
        return 0
    if flags.text("config"):
        os.environ["CORTEN_CONFIG"] = flags.text("config")
    return _dispatch(flags)


def _dispatch(flags: Flags) -> int:
    words = flags.words
    if not words:
        return _help("")
    path, rest = words[0], words[1:]
    if path == "help":
        return _help(" ".join(rest))
    while path in table.GROUPS:
        if not rest or rest[0] in ("--help", "-h"):
            return _help(path)
        path, rest = f"{path} {rest[0]}", rest[1:]
    found = table.find(path)
    if found is None:
        from corten.cli import usage

        return usage.refuse(path)
    module = __import__(f"corten.cli.commands.{found.module}", fromlist=["COMMAND"])
    command: Command = module.COMMAND
    if len(flags.many("host")) > 1:
        err("specify only one -H")
        return 1
    session = Session(path, "".join(flags.many("host")), flags.on("debug"), flags)
    return _perform(command, session, rest)


def _perform(command: Command, session: Session, words: list[str]) -> int:
    try:
        flags = parse(command.flags, ["--", *words] if command.raw else words, command.interspersed)
        command.check_words(session.path, flags.words)
        return command.run(session, flags)
    except HelpWanted as wanted:
        if wanted.deprecated:
            err("Flag shorthand -h has been deprecated, use --help")
        return _help(session.path)
    except BrokenPipeError:
        raise
    except (CortenError, OSError) as error:
        _trace(session)
        return _report(error, command, session.path)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        if not session.asked:
            raise
        # Answers are read where they are shown. One without the fields or types of the API ends here, and not in a
        # traceback, of which a user makes nothing.
        _trace(session)
        return _report(BadAnswer(f"cannot use the daemon's answer: {_place(error)}"), command, session.path)
    finally:
        session.close()


def _trace(session: Session) -> None:
    if session.debug:
        import traceback

        err(traceback.format_exc(), end="")


def _place(error: Exception) -> str:
    """What happened and where in these sources."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = "" if at is None else f"{'/'.join(at.tb_frame.f_code.co_filename.split('/')[-2:])}:{at.tb_lineno}: "
    return f"{where}{type(error).__name__}: {error}; --debug shows more"


def _report(error: CortenError | OSError, command: Command, path: str) -> int:
    """Say what went wrong as Docker's client says it, and choose the exit code."""
    if isinstance(error, UsageError):
        err(f"{error}\nSee 'corten {path} --help'.")
        return 125
    if isinstance(error, CommandError):
        if str(error):
            # Docker's codes of what never came to run are shown with a pointer to the help.
            hinted = error.code in (125, 126, 127)
            err(f"corten: {_sentence(error)}\nSee 'corten {path} --help'." if hinted else str(error))
        return error.code
    message = f"Error response from daemon: {error}" if isinstance(error, ApiError) else str(error)
    if command.failure == 1 or isinstance(error, Unreachable):
        err(message)
        return command.failure
    err(f"corten: {_sentence(message)}\nSee 'corten {path} --help'.")
    return command.failure


def _sentence(text: object) -> str:
    """With one mark at its end."""
    return f"{text}" if str(text).endswith((".", "?", "!")) else f"{text}."


def _help(path: str) -> int:
    from corten.cli import usage

    return usage.show(path, GLOBAL_FLAGS)
