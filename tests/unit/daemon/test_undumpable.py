"""What a daemon, a registry or the CRI has in memory gets into no core file."""

from __future__ import annotations

import subprocess
import sys

import pytest

_ASK = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"  # PR_GET_DUMPABLE
_RUN = """
import runpy, sys
sys.argv = {words!r}
try:
    runpy.run_module({words[0]!r}, run_name="__main__")
except SystemExit:
    pass
"""


@pytest.mark.parametrize(
    "begin",
    [
        "from corten.daemon.main import main; main(['--validate', '--config-file', '/no/such'])",
        _RUN.format(words=["corten.registry.server", "gc"]),
        _RUN.format(words=["corten.cri", "--no-such"]),
    ],
    ids=["daemon", "registry", "cri"],
)
def test_no_core_file_has_what_it_keeps(begin: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"{begin}\n{_ASK}"], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == ["0"], done.stderr
