"""The kernel's interpreter of classic BPF, for the instructions that seccomp allows, and struct seccomp_data."""

from __future__ import annotations

import struct
from collections.abc import Sequence

Code = list[tuple[int, int, int, int]]


def decode(program: bytes) -> Code:
    return [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]


def run(code: Code, number: int, audit: int, arguments: Sequence[int] = ()) -> tuple[int, int]:
    """The value returned, and how many instructions it took. Raises IndexError when the program runs off its end."""
    words = [argument & 0xFFFFFFFFFFFFFFFF for argument in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("=IIQ6Q", number, audit, 0x7F0000001000, *words)
    accumulator = at = steps = 0
    memory: dict[int, int] = {}
    other = 0
    while True:
        operation, yes, no, k = code[at]
        at, steps = at + 1, steps + 1
        match operation:
            case 0x20:  # LD W ABS
                assert k % 4 == 0 and k <= 60
                accumulator = struct.unpack_from("=I", data, k)[0]
            case 0x54:  # AND K
                accumulator &= k
            case 0x05:  # JA
                at += k
            case 0x15:
                at += yes if accumulator == k else no
            case 0x25:
                at += yes if accumulator > k else no
            case 0x35:
                at += yes if accumulator >= k else no
            case 0x45:
                at += yes if accumulator & k else no
            case 0x06:
                return k, steps
            case 0x02:  # ST
                memory[k] = accumulator
            case 0x60:  # LD MEM
                accumulator = memory[k]
            case 0x07:  # TAX
                other = accumulator
            case 0x5C:  # AND X
                accumulator &= other
            case 0x00:  # LD IMM
                accumulator = k
            case _:
                raise AssertionError(f"instruction {operation:#x} is none of seccomp's")
