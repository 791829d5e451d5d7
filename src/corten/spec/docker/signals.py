"""Signals by the names and numbers that Docker takes: "SIGTERM", "term", "15", "RTMIN+3"."""

from __future__ import annotations

import signal

from corten.errors import Invalid

_NAMES = {s.name.removeprefix("SIG"): int(s) for s in signal.Signals}
_NAMES |= {"CLD": int(signal.SIGCHLD), "POLL": int(signal.SIGIO), "IOT": int(signal.SIGABRT)}
_NAMES |= {f"RTMIN+{n}": 34 + n for n in range(1, 16)} | {f"RTMAX-{n}": 64 - n for n in range(1, 15)}
_NAMES |= {"RTMIN": 34, "RTMAX": 64}


def number(text: str) -> int:
    """The number of a signal by its name or number. Raises Invalid when there is no such signal."""
    if text.isascii() and text.isdigit():
        value = int(text[:9])
        if 0 < value <= 64:
            return value
    elif (value := _NAMES.get(text.upper().removeprefix("SIG"), 0)) > 0:
        return value
    raise Invalid(f"invalid signal: {text}")
