"""What tests download or make once, and keep for later runs."""

from __future__ import annotations

import os
from pathlib import Path


def directory() -> Path:
    """It may be used by several runs at a time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "corten-tests"
    cache.mkdir(parents=True, exist_ok=True)
    return cache
