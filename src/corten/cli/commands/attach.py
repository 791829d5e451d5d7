"""corten attach: join the streams of a running container."""

from __future__ import annotations

from corten.cli import attached
from corten.cli.attached import STDIN, STDOUT, Interrupted
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.streams import Pump
from corten.cli.terminal import Raw, is_terminal, size
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


REFUSALS = {
    "Paused": "You cannot attach to a paused container, unpause it first",
    "Restarting": "You cannot attach to a restarting container, wait until it is running",
}


def run(session: Session, flags: Flags) -> int:
    try:
        return _attach(session, flags)
    except Interrupted as interrupted:
        return attached.restore_and_die(interrupted.number)


def _attach(session: Session, flags: Flags) -> int:
    client = session.client
    keys, key_bytes = attached.detach_keys(session, flags.text("detach-keys"))
    config = containers.inspect(client, flags.words[0])
    _check_state(config["State"])
    ref, tty = config["Id"], bool(config["Config"].get("Tty"))
    stdin = bool(config["Config"].get("OpenStdin")) and not flags.on("no-stdin")
    attached.check_terminal(stdin, tty)
    resize = attached.resizer(client, ref, containers.resize) if tty and is_terminal(STDOUT) else None
    forward = flags.on("sig-proxy") and not tty
    act = attached.forwarder(client, ref, forward, resize)
    raw = attached.open_stdin_terminal(tty, stdin)
    with attached.signal_pipe(forward, tty, raw) as signals:
        watch = attached.ExitWatch(client, ref)
        upgraded = containers.attach(client, ref, stdin, True, True, keys)
        with Raw(raw):
            if resize is not None:
                # A shell draws its prompt again only when the size changes.
                height, width = size(STDOUT)
                containers.resize(client, ref, height + 1, width + 1)
                resize()
            typed = key_bytes if raw is not None else b""
            if Pump(upgraded, STDIN if stdin else None, tty, typed, signals, act).run():
                watch.close()
                raise CommandError("read escape sequence")
        return watch.code(signals, act)


def _check_state(state: dict[str, object]) -> None:
    if not state.get("Running"):
        raise CommandError("You cannot attach to a stopped container, start it first")
    for name, message in REFUSALS.items():
        if state.get(name):
            raise CommandError(message)


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER",
    "Attach your terminal's streams to a running container",
    (
        flag("detach-keys", STRING, "Keys that leave the container running (ctrl-p,ctrl-q)"),
        flag("no-stdin", BOOL, "Do not attach STDIN"),
        flag("sig-proxy", BOOL, "Send the signals we get to the container", default=True),
    ),
    least=1,
    most=1,
)
