"""Becoming one of the servers, in the place of the client."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn


def become(module: str, words: Iterable[str]) -> NoReturn:
    """The program of that package, with these arguments."""
    # It is found where ours was, also when that was put on the path by a launcher script.
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    search = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{search}" if search else root
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *words])
