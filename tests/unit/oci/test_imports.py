"""What `corten-oci state` and `kill` load: they are called for every container, and start an interpreter each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_LOADED = "import sys; from corten.oci.main import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
MAKES_PROCESSES = {"corten.oci.create", "corten.oci.enter", "corten.runtime.spawn", "corten.runtime.init"}


def loaded(*words: str) -> set[str]:
    """The modules of the runtime that these words made it load."""
    done = subprocess.run([sys.executable, "-I", "-c", _LOADED, *words], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [("state", "x"), ("kill", "x", "KILL"), ("list",)])
def test_nothing_that_makes_processes(words: tuple[str, ...], tmp_path: Path) -> None:
    modules = loaded("--root", str(tmp_path), *words)
    assert "corten.oci.verbs" in modules and not modules & MAKES_PROCESSES


def test_create_loads_it(tmp_path: Path) -> None:
    assert loaded("--root", str(tmp_path), "create", "--bundle", str(tmp_path), "x") >= {"corten.runtime.spawn"}
