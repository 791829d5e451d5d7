"""A pump between pipes and a socket pair: everything arrives, in few pieces, whatever it is."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from corten.cli.archives import input_parts
from corten.cli.pipes import BLOCK, widen

SIZE = 16 << 20
PUMP = """
import _socket, sys
from corten.cli.streams import Pump
from corten.client.api import Upgraded
print(Pump(Upgraded(_socket.socket(fileno=int(sys.argv[1])), b"", ""), 0, sys.argv[2] == "tty").run(), file=sys.stderr)
"""


@pytest.mark.parametrize("tty", ["tty", "frames"])
def test_both_directions_carry_everything(tmp_path: Path, tty: str) -> None:
    """An echo; without a terminal each of its pieces is a frame, cut where it happens to be."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(os.urandom(1 << 20) * (SIZE >> 20))
    ours, theirs = socket.socketpair()

    def echo() -> None:
        with ours:
            while data := ours.recv(1 << 16):
                head = b"" if tty == "tty" else b"\x01\0\0\0" + len(data).to_bytes(4, "big")
                ours.sendall(head + data)

    thread = threading.Thread(target=echo)
    thread.start()
    with source.open("rb") as stdin, target.open("wb") as stdout:
        command = [sys.executable, "-c", PUMP, str(theirs.fileno()), tty]
        with subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, pass_fds=[theirs.fileno()]
        ) as process:
            theirs.close()
            _, said = process.communicate(timeout=30)
    thread.join(60)
    assert (process.returncode, said) == (0, b"False\n")
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()


def test_pipes_are_widened_and_never_made_smaller(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    widen(reader)
    assert fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ) == BLOCK
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4 * BLOCK)
    widen(reader)
    assert fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ) == 4 * BLOCK
    os.close(reader)
    os.close(writer)
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file:
        widen(file.fileno())
    assert list(input_parts(str(tmp_path / "file"), "file")) == [b"content"]
