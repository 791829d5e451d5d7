"""What the launcher loads is copied page by page into every supervisor and every init; a helper loads it each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import corten

SOURCE = Path(corten.__file__).parents[1]


@pytest.mark.parametrize("module", ["launcher", "building", "trees"])
def test_the_launcher_loads_no_heavy_module(module: str) -> None:
    """dataclasses alone brings inspect, ast, dis and tokenize: 1 MB, and a start that takes 2 % longer."""
    program = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
import corten.supervisor.{module}
heavy = {{"dataclasses", "inspect", "ast", "asyncio", "logging", "subprocess", "pathlib",
         "msgspec", "threading", "shutil", "tempfile", "argparse", "weakref"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
