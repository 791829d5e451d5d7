"""Things in a store become old, as the collector sees it."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

_count = itertools.count()


def age(root: Path, *below: str, seconds: float = 86400) -> None:
    """Everything below `root/below`: last needed so long ago. No two times are the same, as in life."""
    for path in sorted(root.joinpath(*below).rglob("*")):
        then = time.time_ns() - int(seconds * 1e9) - next(_count)
        if path.is_file():
            os.utime(path, ns=(then, then))
