"""corten exec: run one more command in a running container."""

from __future__ import annotations

from corten.cli import attached
from corten.cli.attached import STDIN, STDOUT, Interrupted
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, ENV, LIST, STRING, flag
from corten.cli.streams import Pump
from corten.cli.terminal import Raw, is_terminal, size
from corten.client import containers
from corten.client.errors import Broken, Unreachable
from corten.spec.docker.exec import ExecConfig, ExecStart
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.client.api import Client


def run(session: Session, flags: Flags) -> int:
    ref, *command = flags.words
    keys, key_bytes = attached.detach_keys(session, flags.text("detach-keys"))
    detach, tty = flags.on("detach"), flags.on("tty")
    console = size(STDOUT) if tty and is_terminal(STDOUT) else UNSET
    config = _config(flags, command, keys, console)
    client = session.client
    if not detach:
        _check_terminal(client, ref, config)
    start = ExecStart(detach=detach, tty=tty, console_size=console)
    exec_id = containers.exec_create(client, ref, config)
    if detach:
        containers.exec_start(client, exec_id, start)
        return 0
    try:
        return _attach(session, exec_id, start, config, key_bytes)
    except Interrupted as interrupted:
        return attached.restore_and_die(interrupted.number)


def _check_terminal(client: Client, ref: str, config: ExecConfig) -> None:
    """CommandError without a terminal; a container that is not there is the better message, ApiError."""
    try:
        attached.check_terminal(config.attach_stdin, config.tty)
    except CommandError:
        containers.inspect(client, ref)
        raise


def _config(flags: Flags, command: list[str], keys: str, console: tuple[int, int]) -> ExecConfig:
    attach = not flags.on("detach")
    return ExecConfig(
        cmd=command,
        detach=not attach,
        tty=flags.on("tty"),
        console_size=console,
        attach_stdin=attach and flags.on("interactive"),
        attach_stdout=attach,
        attach_stderr=attach,
        privileged=flags.on("privileged"),
        user=flags.text("user") or UNSET,
        working_dir=flags.text("workdir") or UNSET,
        detach_keys=keys or UNSET,
        env=_environment(flags),
    )


def _environment(flags: Flags) -> list[str]:
    if not (flags.many("env") or flags.many("env-file")):
        return UNSET
    from corten.cli.options import texts

    return texts.environment(flags.many("env-file"), flags.many("env"))


def _attach(session: Session, exec_id: str, start: ExecStart, config: ExecConfig, keys: bytes) -> int:
    client, tty = session.client, start.tty
    resize = attached.resizer(client, exec_id, containers.exec_resize) if tty and is_terminal(STDOUT) else None
    act = attached.forwarder(client, "", False, resize)
    raw = attached.open_stdin_terminal(tty, config.attach_stdin)
    with attached.signal_pipe(False, tty, raw) as signals:
        upgraded = containers.exec_attach(client, exec_id, start)
        with Raw(raw):
            if resize is not None:
                resize()
            stdin = STDIN if config.attach_stdin else None
            if Pump(upgraded, stdin, tty, keys if raw is not None else b"", signals, act).run():
                raise CommandError("read escape sequence")
    try:
        ended = containers.exec_inspect(client, exec_id)
    except (Broken, Unreachable) as lost:
        from corten.cli.again import again

        ended = again(lambda: containers.exec_inspect(client, exec_id), lost)
    return int(ended["ExitCode"] or 0)


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    "Run a command in a running container",
    (
        flag("detach", BOOL, "Run it in the background", "d"),
        flag("detach-keys", STRING, "Keys that leave the command running (ctrl-p,ctrl-q)"),
        flag("env", ENV, "Set an environment variable", "e"),
        flag("env-file", LIST, "Read environment variables from a file"),
        flag("interactive", BOOL, "Keep STDIN open", "i"),
        flag("privileged", BOOL, "Give the command every privilege"),
        flag("tty", BOOL, "Give it a terminal", "t"),
        flag("user", STRING, "User, by name or number (name[:group])", "u"),
        flag("workdir", STRING, "Working directory", "w"),
    ),
    least=2,
    interspersed=False,
)
