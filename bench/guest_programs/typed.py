"""Process 1 of a whole machine that moves bytes when a line on its serial console asks for it, in JSON:

{"do": "ready", "interface": {...}}                     its interface is up: said: bench: done
{"do": "write" or "read", "size": BYTES}                to its first disk, and from there
{"do": "send" or "receive", "size": BYTES, "peer": [ADDRESS, PORT]}
"""

from __future__ import annotations

import json
import time
from typing import Any

from bench.guest_programs import moving
from corten.guest import devices, init, network

_DISK = "disk0"


def main() -> None:
    init.begin()
    with open("/dev/ttyS0", "rb", buffering=0) as lines, open("/dev/ttyS0", "wb", buffering=0) as answers:
        answers.write(b"bench: ready\n")
        for line in lines:
            try:
                asked = json.loads(line)
                _do(asked["do"], asked)
                answers.write(b"bench: done\n")
            except Exception as error:
                answers.write(f"bench: failed: {error!r}\n".encode())


def _do(what: str, asked: dict[str, Any]) -> None:
    if what in ("write", "read"):
        moving.disk(what, asked["size"], _DISK)
    elif what == "ready":
        devices.take_up(True)
        if devices.wait_for(lambda: devices.disk(_DISK), time.monotonic() + 60) is None:
            raise FileNotFoundError("no disk")
        network.attach(network.interface(asked["interface"]))
    else:
        address, port = asked["peer"]
        moving.stream(what, asked["size"], (address, port))
