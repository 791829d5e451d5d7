"""Things in a store become old, as the collector sees it."""

from __future__ import annotations

import itertools
import os
import time
from contextlib import suppress
from pathlib import Path

_count = itertools.count()


def age(root: Path, *below: str, seconds: float = 86400) -> None:
    """Everything below `root/below`: last needed so long ago. No two times are the same, as in life."""
    for directory, _, names in os.walk(root.joinpath(*below)):
        for name in names:
            then = time.time_ns() - int(seconds * 1e9) - next(_count)
            with suppress(FileNotFoundError):  # something may be collecting
                os.utime(os.path.join(directory, name), ns=(then, then))
