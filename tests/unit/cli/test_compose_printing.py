"""Output of several containers: neither a stream that is none, nor a closed pipe, holds the others up for ever."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import socket
from corten.cli.compose.printing import Printer

class Source:
    def __init__(self, data):
        self.ours, theirs = socket.socketpair()
        theirs.sendall(data)
        theirs.close()

    def fileno(self):
        return self.ours.fileno()

    def read(self):
        return self.ours.recv(65536)

    def more(self):
        return False

    def close(self):
        self.ours.close()

printer = Printer()
printer.add("bad-1", Source(b"no frames of a stream"), False)
printer.idle.wait()
printer.add("good-1", Source(b"\\1\\0\\0\\0\\0\\0\\0\\3hi\\n"), False)
printer.idle.wait()
printer.close()
"""


def printed(stdout: int) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", SCRIPT], stdout=stdout, stderr=subprocess.PIPE, timeout=60)


def test_a_stream_without_frames() -> None:
    done = printed(subprocess.PIPE)
    assert done.returncode == 0 and done.stdout == b"good-1  | hi\n"
    assert done.stderr == b"bad-1: unrecognized stream frame 6e6f206672616d65\n"


def test_a_reader_that_has_gone() -> None:
    """As `compose logs | head`: the status is that of a program which SIGPIPE ends."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = printed(writing)
    finally:
        os.close(writing)
    assert done.returncode == 141 and b"Traceback" not in done.stderr
