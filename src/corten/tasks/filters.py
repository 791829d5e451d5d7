"""Compiled system call filters, handed to supervisors as descriptors.

Compiling takes milliseconds and a compiler's memory; containers of one profile share one program. So it is done here,
once, and a supervisor gets a sealed memfd: no process can change it, it needs no file to be swept, and it is there for
every later exec.
"""

from __future__ import annotations

import fcntl
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import msgspec

from corten.errors import Failed
from corten.runtime import seccomp

_KEPT = 64  # programs of different profiles or capability sets

_F_ADD_SEALS = 1033
_ALL_SEALS = 0xF


class _Linux(msgspec.Struct):
    seccomp: msgspec.Raw = msgspec.Raw(b"null")


class _Configuration(msgspec.Struct):
    """What is read of it here: nothing else is decoded, and the profile only when it has not been met before."""

    linux: _Linux | None = None


_read = msgspec.json.Decoder(_Configuration).decode


class Filters:
    def __init__(self) -> None:
        self._programs: OrderedDict[bytes, int] = OrderedDict()  # by the profile as it is written

    def descriptor(self, bundle: Path) -> int | None:
        """The program for the bundle's configuration, None when it asks for none. It stays ours to close. Failed."""
        try:
            with open(f"{bundle}/config.json", "rb", buffering=0) as file:
                linux = _read(file.readall()).linux
        except (OSError, msgspec.DecodeError) as error:
            raise Failed(f"cannot read the configuration of bundle {bundle}: {error}") from error
        key = bytes(linux.seccomp) if linux else b"null"
        if key not in self._programs:
            section: dict[str, Any] | None = msgspec.json.decode(key)
            if not section:
                return None
            self._programs[key] = _sealed(seccomp.compile(section))
            if len(self._programs) > _KEPT:
                os.close(self._programs.popitem(last=False)[1])
        self._programs.move_to_end(key)
        return self._programs[key]

    def close(self) -> None:
        while self._programs:
            os.close(self._programs.popitem()[1])


def _sealed(program: bytes) -> int:
    fd = os.memfd_create("corten-seccomp", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, program)
    fcntl.fcntl(fd, _F_ADD_SEALS, _ALL_SEALS)
    return fd
