"""Load generators that run inside a container's network: `python load.py WORK ARGUMENTS`, by nsenter.

ask ADDRESS NAME NUMBER AT_A_TIME     so many questions for a name, so many unanswered at a time
accept PORT                           take connections and close them, until killed
connect ADDRESS PORT NUMBER           so many connections one after the other
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable


def ask(address: str, name: str, number: str, at_a_time: str) -> None:
    total, window = int(number), int(at_a_time)
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    rest = struct.pack(">HHHHH", 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((address, 53))
        udp.settimeout(5)
        sent = answered = 0
        while answered < total:
            while sent < total and sent - answered < window:
                udp.send(struct.pack(">H", sent & 0xFFFF) + rest)
                sent += 1
            if udp.recv(512)[6:8] == b"\0\0":
                raise SystemExit(f"{name} was not found")
            answered += 1


def accept(port: str) -> None:
    with socket.create_server(("", int(port)), backlog=512) as server:
        while True:
            server.accept()[0].close()


def connect(address: str, port: str, number: str) -> None:
    for _ in range(int(number)):
        with socket.create_connection((address, int(port)), 5) as one:
            one.recv(1)


if __name__ == "__main__":
    _WORK: dict[str, Callable[..., None]] = {"ask": ask, "accept": accept, "connect": connect}
    _WORK[sys.argv[1]](*sys.argv[2:])
