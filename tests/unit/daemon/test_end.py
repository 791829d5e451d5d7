"""The daemon's process ends, whatever its threads do."""

from __future__ import annotations

import subprocess
import sys

_STUCK = """
import threading
from corten.aio import threads
from corten.daemon import main

def run(arguments):
    threads._WALKS.submit(threading.Event().wait)
    print("said")
    return 3

main.main = run
main.entry()
"""


def test_a_thread_that_counts_a_large_tree_is_not_waited_for() -> None:
    ended = subprocess.run([sys.executable, "-c", _STUCK], stdout=subprocess.PIPE, timeout=60)
    assert (ended.returncode, ended.stdout) == (3, b"said\n")
