"""The init process of `--init`: what `tini` and `catatonit` are, as an ELF file of a thousand bytes that we make.

    docker-init -- PROGRAM [ARGUMENT...]

It starts the program as its only child, hands on to it every signal that it gets, waits for each process that is left
to it, and exits when the program does: with its code, or 128 and the number of the signal that ended it.

    process group   the program gets one of its own, and with a terminal on standard input it is the foreground one, so
                    that keys reach the program and not this process
    signals         all are blocked here and taken one by one; SIGCHLD, SIGTTIN and SIGTTOU are not handed on, SIGKILL
                    and SIGSTOP cannot be. The program has the mask that this process was started with
    not process 1   it becomes a child subreaper (prctl(2)): with the host's processes, orphans are waited for as well
    PROGRAM         without a slash it is looked for in PATH; what is no executable format is the shell's (execvp(3))
    cannot be run   one line on standard error; the code is 127 when it is not there, else 126

Why machine code: this process lives as long as the container, and an image has nothing that could be it. A Python
process is 9 MB each, a compiler is not there where the engine is installed, busybox has no applet that does it, and
packages of the machine are what a user would have to know of. This is three pages of memory, and is there at once.

It uses no library, reads no file, allocates nothing. The code for each machine is in a module of its own.
"""

from __future__ import annotations

import ast
import contextlib
import os
import struct
from pathlib import Path

from corten.runtime import docker_init_x86_64

NAME = "docker-init"
_BASE = 0x400000  # where the file is mapped to
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr, elf(5)
_SEGMENT = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr
_PT_LOAD, _PT_GNU_STACK = 1, 0x6474E551
_EXECUTE, _WRITE, _READ = 1, 2, 4
_MACHINES = {"x86_64": (62, docker_init_x86_64.CODE)}  # uname's name: (e_machine, code)


def executable(machine: str) -> bytes | None:
    """The whole file for `machine` (uname's word); None when there is no code for it."""
    if machine not in _MACHINES:
        return None
    number, listing = _MACHINES[machine]
    start = _HEADER.size + 2 * _SEGMENT.size
    content = code(listing)
    ident = b"\x7fELF" + bytes((2, 1, 1))  # 64 bits, little endian, version 1
    header = _HEADER.pack(
        ident, 2, number, 1, _BASE + start, _HEADER.size, 0, 0, _HEADER.size, _SEGMENT.size, 2, 0, 0, 0
    )  # ET_EXEC, no sections
    size = start + len(content)
    mapped = _SEGMENT.pack(_PT_LOAD, _READ | _EXECUTE, 0, _BASE, _BASE, size, size, 0x1000)
    stack = _SEGMENT.pack(_PT_GNU_STACK, _READ | _WRITE, 0, 0, 0, 0, 0, 16)  # not executable
    return header + mapped + stack + content


def code(listing: str) -> bytes:
    """The bytes of a listing: lines of hexadecimal digits and what they mean, labels, texts."""
    result = bytearray()
    for line in listing.splitlines():
        first, _, rest = line.strip().partition(" ")
        if first == ".asciz":
            result += ast.literal_eval(rest).encode() + b"\0"
        elif first and not first.endswith(":"):
            result += bytes.fromhex(first)
    return bytes(result)


def put(directory: Path) -> str:
    """Have the file in `directory`, and return its path; "" when this machine has no code.

    A file that is right already stays; another is replaced as a whole, since containers may be running the old one.
    """
    content = executable(os.uname().machine)
    if content is None:
        return ""
    path = directory / NAME
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == content and path.stat().st_mode & 0o7777 == 0o755:
            return str(path)
    new = directory / f"{NAME}.new"
    new.unlink(missing_ok=True)  # of a daemon that was killed here
    new.write_bytes(content)
    new.chmod(0o755)  # every user of a container runs it
    os.replace(new, path)
    return str(path)
