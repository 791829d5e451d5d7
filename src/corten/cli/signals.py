"""The signal module's machinery without its enums, which cost 2 ms at every start (signal(7) for the numbers)."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    Handler = Callable[[int, FrameType | None], None]

DEFAULT = _signal.SIG_DFL
NAMES: dict[int, str] = {
    getattr(_signal, f"SIG{name}"): name
    for name in "HUP INT QUIT USR1 USR2 PIPE ALRM TERM CONT TSTP TTIN TTOU WINCH".split()
}
NUMBERS: dict[str, int] = {name: number for number, name in NAMES.items()}


def handle(number: int, handler: Handler | Any) -> Any:
    """Set a handler, or DEFAULT; the former one."""
    return _signal.signal(number, handler)


def wake(fd: int) -> int:
    """Have every handled signal's number written to `fd`, -1 for none; the former descriptor."""
    former: int = _signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    return former
