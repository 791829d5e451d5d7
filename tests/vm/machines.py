"""Machines for tests: one template for the session, and clones of it that evaluate Python."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corten.errors import CortenError
from corten.vm import initramfs, kernels, template
from corten.vm.contract import Shape
from corten.vm.kernels import Kernel
from corten.vm.qemu import Qemu
from corten.vm.template import Template
from e2e_parts.patience import PATIENCE

PLACES = (Path(sys.prefix) / "share/corten/kernel",)  # where scripts/guest-kernel puts one
PROGRAMS = Path(__file__).parent / "guest_programs"
_HEAD = struct.Struct(">BII")


def missing() -> str:
    """What this machine lacks, as a reason to skip; empty when nothing."""
    if os.geteuid() != 0:
        return "machines need root"
    if not shutil.which("qemu-system-x86_64"):
        return "qemu-system-x86_64 is missing (Debian package qemu-system-x86)"
    try:
        kernels.find(PLACES)
    except CortenError as error:
        return f"{error}; scripts/guest-kernel does that"
    return ""


def kernel() -> Kernel:
    return kernels.find(PLACES)


def shape() -> Shape:
    return Shape(shutil.which("qemu-system-x86_64") or "", "tcg", 256 << 20, 2 << 30, 3)


@contextmanager
def sources(program: str = "evaluating") -> Iterator[tuple[int, int]]:
    """Descriptors of a kernel and an initramfs with one of `guest_programs`."""
    with tempfile.TemporaryFile() as file:
        initramfs.write(initramfs.collect(kernel(), program, [PROGRAMS]), file)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        image = os.open(kernel().image, os.O_RDONLY)
        try:
            yield image, file.fileno()
        finally:
            os.close(image)


@contextmanager
def made(program: str = "evaluating") -> Iterator[Template]:
    """A template whose clones run that program."""
    with sources(program) as (image, files):
        found = template.make(shape(), image, files, lambda: None)
    try:
        yield found
    finally:
        os.close(found.memory)
        os.close(found.state)


@contextmanager
def cloned(made: Template, join: Callable[[], None] = lambda: None) -> Iterator[Evaluating]:
    machine = template.clone(shape(), made, join)
    try:
        yield Evaluating(machine)
    finally:
        machine.close()


class Evaluating:
    """A machine whose guest runs `evaluating`."""

    def __init__(self, machine: Qemu) -> None:
        self.machine = machine

    def ask(self, expression: str) -> Any:
        """The value of a Python expression in the guest. RuntimeError with the guest's exception."""
        self.send(expression)
        self.machine.agent.settimeout(PATIENCE)
        (length,) = _HEAD.unpack(self._exactly(_HEAD.size))[2:]
        answer = json.loads(self._exactly(length))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def send(self, expression: str) -> None:
        body = json.dumps({"evaluate": expression}).encode()
        self.machine.agent.sendall(_HEAD.pack(0, 0, len(body)) + body)

    def until(self, expression: str) -> Any:
        """The first true value; the guest itself waits between its looks."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if value := self.ask(f"({expression}) or time.sleep(0.05)"):
                return value
        raise TimeoutError(f"{expression} is not true: {self.machine.last_words()}")

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = self.machine.agent.recv(length - len(data))
            if not more:
                raise EOFError(f"the guest has ended: {self.machine.last_words()}")
            data += more
        return data
