"""corten start: start stopped containers, and attach to one with -a or -i."""

from __future__ import annotations

from corten.cli import attached, waiting
from corten.cli.attached import STDIN, STDOUT, Interrupted
from corten.cli.command import Command
from corten.cli.each import daemon_message
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import err, out
from corten.cli.streams import Pump
from corten.cli.terminal import Raw, is_terminal
from corten.client import containers
from corten.client.errors import ApiError
from corten.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    keys = attached.detach_keys(session, flags.text("detach-keys"))
    if flags.on("attach") or flags.on("interactive"):
        if len(flags.words) > 1:
            raise CommandError("you cannot start and attach multiple containers at once")
        try:
            return _attached(session, flags, flags.words[0], keys)
        except Interrupted as interrupted:
            return attached.restore_and_die(interrupted.number)
    return _each(session, flags.words)


def _each(session: Session, names: list[str]) -> int:
    failed = []
    for name in names:
        try:
            with waiting.Explained(session.client, name):
                containers.start(session.client, name)
        except ApiError as error:
            err(daemon_message(error))
            failed.append(name)
            continue
        except Invalid as error:
            err(str(error))
            failed.append(name)
            continue
        out(name)
    if failed:
        raise CommandError(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _attached(session: Session, flags: Flags, name: str, keys: tuple[str, bytes]) -> int:
    client = session.client
    config = containers.inspect(client, name)
    ref, tty = config["Id"], bool(config["Config"].get("Tty"))
    stdin = flags.on("interactive") and bool(config["Config"].get("OpenStdin"))
    attached.check_terminal(stdin, tty)
    resize = attached.resizer(client, ref, containers.resize) if tty and is_terminal(STDOUT) else None
    # Keys typed into a terminal reach the container; signals are for containers without one.
    forward = not tty and flags.on("sig-proxy")
    act = attached.forwarder(client, ref, forward, resize)
    raw = attached.open_stdin_terminal(tty, stdin)
    with attached.signal_pipe(forward, tty, raw) as signals:
        removed = bool((config.get("HostConfig") or {}).get("AutoRemove"))
        watch = attached.ExitWatch(client, ref, "removed" if removed else "next-exit")
        upgraded = containers.attach(client, ref, stdin, True, True, keys[0])
        watch.registered()
        with Raw(raw):
            with waiting.Explained(client, ref):
                containers.start(client, ref, keys[0])
            if resize is not None:
                resize()
            typed = keys[1] if raw is not None else b""
            if Pump(upgraded, STDIN if stdin else None, tty, typed, signals, act).run():
                watch.close()
                return 0
        return watch.code(signals, act)


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Start stopped containers",
    (
        flag("attach", BOOL, "Show output and error, and forward signals", "a"),
        flag("detach-keys", STRING, "Keys that leave the container running (ctrl-p,ctrl-q)"),
        flag("interactive", BOOL, "Pass STDIN on", "i"),
        flag("sig-proxy", BOOL, "Send the signals we get to the container", default=True, hidden=True),
    ),
    least=1,
)
