"""corten vm console: a machine's serial console in this terminal."""

from __future__ import annotations

from corten.cli import attached
from corten.cli.attached import STDIN, Interrupted
from corten.cli.command import Command
from corten.cli.flags import STRING, flag
from corten.cli.output import err
from corten.cli.streams import Pump
from corten.cli.terminal import Raw
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    try:
        return _attach(session, flags)
    except Interrupted as interrupted:
        return attached.restore_and_die(interrupted.number)


def _attach(session: Session, flags: Flags) -> int:
    keys, key_bytes = attached.detach_keys(session, flags.text("detach-keys"))
    raw = attached.open_stdin_terminal(True, True)
    with attached.signal_pipe(False, True, raw) as signals:
        upgraded = machines.attach(session.client, flags.words[0], detach_keys=keys)
        if raw is not None:
            err(f"Connected to the console of {flags.words[0]}; {keys or 'ctrl-p,ctrl-q'} leaves it.\r")
        act = attached.forwarder(session.client, "", False, None)
        with Raw(raw):
            Pump(upgraded, STDIN, True, key_bytes if raw is not None else b"", signals, act).run()
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE",
    "Use a machine's serial console in this terminal",
    (flag("detach-keys", STRING, "Keys that leave it (ctrl-p,ctrl-q)"),),
    least=1,
    most=1,
)
