"""Process 1 of a guest that moves bytes when it is asked to: {"do": "write", "read", "send" or "receive", "size"}."""

from __future__ import annotations

import json
import mmap
import os
import socket
import struct
import time
from typing import Any

from corten.guest import devices, init, network

_HEAD = struct.Struct(">BII")  # of the agent's port
_PIECE = 256 << 10  # bytes
PEER, TAKES, GIVES = "10.213.7.1", 9, 19
INTERFACE: dict[str, Any] = {"name": "eth0", "mac": "02:42:0a:d5:07:02", "addresses": ["10.213.7.2/24"]}


def main() -> None:
    init.begin()
    os.set_blocking(port := init.open_port(), True)
    _answer(port, event="hello", version=1)
    while True:
        (length,) = _HEAD.unpack(_exactly(port, _HEAD.size))[2:]
        asked = json.loads(_exactly(port, length))
        try:
            _do(asked["do"], asked["size"])
            _answer(port, ok={})
        except Exception as error:
            _answer(port, error=repr(error))


def _do(what: str, size: int) -> None:
    if what in ("write", "read"):
        disk(what, size, "bench")
    elif what == "ready":
        devices.take_up(True)
        if devices.wait_for(lambda: devices.disk("bench"), time.monotonic() + 60) is None:
            raise FileNotFoundError("no disk")
        network.attach(network.interface(INTERFACE))
    else:
        stream(what, size, (PEER, TAKES if what == "send" else GIVES))


def disk(what: str, size: int, serial: str) -> None:
    """Past the guest's own cache."""
    node = devices.disk(serial)
    assert node is not None
    fd = os.open(node, os.O_RDWR | os.O_DIRECT)
    piece = mmap.mmap(-1, _PIECE)
    for _ in range(size // _PIECE):
        os.write(fd, piece) if what == "write" else os.readv(fd, [piece])
    os.fsync(fd)
    os.close(fd)


def stream(what: str, size: int, peer: tuple[str, int]) -> None:
    piece = bytearray(_PIECE)
    with socket.socket() as connection:
        connection.connect(peer)
        for _ in range(size // _PIECE) if what == "send" else ():
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv_into(piece):
            pass


def _answer(port: int, **what: Any) -> None:
    data = json.dumps(what).encode()
    data = _HEAD.pack(0, 0, len(data)) + data
    while data:
        data = data[os.write(port, data) :]


def _exactly(port: int, length: int) -> bytes:
    data = b""
    while len(data) < length:
        data += os.read(port, length - len(data))
    return data
