"""What an engine calls a container is shown before each line of its output, and gives a terminal no orders."""

from __future__ import annotations

import os
import subprocess
import sys

from unit.cli.terminals import written

SCRIPT = """
from corten.cli.compose.printing import Printer
printer = Printer(colour=False, prefix=True)
name = "a\\x1b[2J\\udcff-1"
printer.say(name, "has ended\\x1b]0;x\\x07")
printer._show(name, [(1, b"said\\x1b[31m")])
printer.close()
"""


def test_names_on_a_terminal() -> None:
    ours, theirs = os.openpty()
    try:
        done = subprocess.run([sys.executable, "-c", SCRIPT], stdout=theirs, stderr=subprocess.PIPE)
        assert done.returncode == 0, done.stderr.decode()
        said = written(ours, theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert b"\\x1b[2J" in said and b"\\x07" in said and b"said\\x1b[31m" in said
    assert b"\x1b" not in said and b"\x07" not in said
