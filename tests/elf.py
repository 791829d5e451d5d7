"""The smallest programs there are: one system call each, so that nothing else is called where that matters."""

from __future__ import annotations

import struct
from pathlib import Path

_BASE = 0x400000
_HEADERS = 64 + 56
EXIT_GROUP, PAUSE = 231, 34  # x86_64


def write_program(path: Path, number: int, argument: int = 0) -> None:
    """An executable for x86_64 that makes the system call `number` with `argument`, again and again."""
    code = b"\xbf" + struct.pack("<i", argument)  # mov edi, argument
    code += b"\xb8" + struct.pack("<i", number) + b"\x0f\x05"  # mov eax, number; syscall
    code += b"\xeb" + struct.pack("<b", -len(code) - 2)  # jmp to the beginning
    size = _HEADERS + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 4096)
    path.write_bytes(ident + header + segment + code)
    path.chmod(0o755)
