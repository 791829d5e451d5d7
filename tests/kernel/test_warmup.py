"""The launcher's rehearsal: it really lives a supervisor's life, and nothing is left of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

_IN_A_PROCESS_OF_ITS_OWN = """
import gc
import os
from corten.supervisor import clone, native, requests, supervise, warmup
said = []
supervise.Supervisor._send_event = lambda self, message: not said.append(message)
before = os.listdir("/proc/self/fd")
code = supervise.Supervisor.run.__code__
method, function = supervise.Supervisor.run, clone.answer_of
warmup.warm_up()
gc.collect()  # as the launcher does; a supervisor ends with its process and leaves its loop to that
assert os.listdir("/proc/self/fd") == before
assert len(said) == 3 + warmup._ROUNDS and all(m["event"] == "exit" and m["status"] == 0 for m in said), said
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    pass
else:
    raise AssertionError("a child is left")
assert supervise.Supervisor.run.__code__ is not code and supervise.Supervisor.run.__code__ == code, "it has not moved"
assert supervise.Supervisor.run is not method and clone.answer_of is not function, "it has not moved"
assert native.clone.answer_of is clone.answer_of and clone.answer_of.__qualname__ == function.__qualname__
log = requests.Log("path", 1, 2, "attrs")
fields = (log.path, log.max_size, log.max_file, log.attrs, log.format)
assert fields == log == ("path", 1, 2, "attrs", ""), "its fields are mixed up"
assert supervise.__name__ == "corten.supervisor.supervise"
assert 100_000 < sum(map(object.__sizeof__, warmup._kept)) < 8_000_000
"""


def test_a_rehearsal_ends_well_and_leaves_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", _IN_A_PROCESS_OF_ITS_OWN], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr
