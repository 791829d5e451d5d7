"""Process 1 of a machine that says "bench: ready" on its console, and then writes to memory of its own now and then."""

from __future__ import annotations

import os
import time

from corten.guest import init

_SIZE, _PAGE = 16 << 20, 4096  # bytes
_REST = 0.02  # seconds between two pages


def main() -> None:
    init.begin()
    console = os.open("/dev/console", os.O_WRONLY)
    os.write(console, b"bench: ready\n")
    memory = bytearray(_SIZE)
    at = 0
    while True:
        memory[at] = (memory[at] + 1) & 255
        at = (at + _PAGE) % _SIZE
        time.sleep(_REST)


if __name__ == "__main__":
    main()
