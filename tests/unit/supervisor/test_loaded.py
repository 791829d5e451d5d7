"""A process whose code on disk was replaced does not load more of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import corten

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from corten.supervisor import loaded, works
print(loaded.has_changed(), flush=True)
loaded.remember()
print(loaded.has_changed(), flush=True)
sys.stdin.readline()
print(loaded.has_changed(), flush=True)
from corten.instance.contract import Look
try:
    works.begin(None, 0, Look("/"), -1, -1)
except Exception as error:
    print(f"{type(error).__name__}: {error}", flush=True)
"""
UPGRADED = "Unsupported: Corten was upgraded since this container was started: restart it for this"


@pytest.mark.parametrize("how", ["nothing", "touched", "replaced", "added", "gone"])
def test_what_counts_as_an_upgrade(tmp_path: Path, how: str) -> None:
    half_written = shutil.ignore_patterns("*.pyc.*")  # by another process, which renames it meanwhile
    shutil.copytree(Path(corten.__file__).parent, tmp_path / "corten", ignore=half_written)
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["False\n", "False\n"]
        module = tmp_path / "corten" / "layers" / "tree.py"
        match how:
            case "touched":
                os.utime(module)
            case "replaced":
                status, text = module.stat(), module.read_text()
                module.rename(tmp_path / "aside")
                module.write_text(text)
                os.utime(module, ns=(status.st_atime_ns, status.st_mtime_ns))
            case "added":
                (module.parent / "new.py").touch()
            case "gone":
                (tmp_path / "corten").rename(tmp_path / "former")
        rest, _ = process.communicate("\n")
    changed, *why = rest.splitlines()
    assert changed == str(how != "nothing")
    assert (why == [UPGRADED]) == (how != "nothing"), why
