"""What stop and restart share: how a container is asked to end, and for how long."""

from __future__ import annotations

from corten.cli.flags import INT, STRING, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags

STOP_FLAGS = (
    flag("signal", STRING, "Signal that asks the container to end", "s"),
    flag("time", INT, "Seconds until it is killed", hidden=True),
    flag("timeout", INT, "Seconds until it is killed, -1 for never", "t"),
)


def patience(flags: Flags) -> int | None:
    """Seconds, None when nothing was said; --time is the older spelling."""
    name = next((name for name in ("timeout", "time") if name in flags), "")
    return flags.number(name) if name else None
