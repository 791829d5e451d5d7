"""The log of a server of ours, on standard error.

What images, registries, guests and containers call themselves, and what they say of an error, ends up in it: that makes
no line of its own there, and gives the terminal that shows it no orders.
"""

from __future__ import annotations

import logging
import sys

_ORDERS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
_CONTROLS = _ORDERS | {ord("\n"): "\\n"}


class Lines(logging.Formatter):
    """A record is one line; only a traceback has more behind it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).translate(_CONTROLS)

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).translate(_ORDERS)


def to_stderr(level: int | str, format: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(format))
    logging.basicConfig(level=level, handlers=[handler])
