"""Workers of `Guests` without QEMU: what they make are files in memory with a word in them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

from corten.kernel import memfd
from corten.tasks.machines import Parts
from corten.vm.contract import Shape
from corten.vm.template import Template


@dataclass
class FakeMachines:
    """`gate` is waited for before a template is made; `error` is raised instead of making one. `kept` are the keys that
    were stored, `made` those that were made."""

    initramfs: str = "initramfs"
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    made: list[tuple[Shape, str]] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    async def parts(self, kernel: Path, directory: Path, architecture: str) -> Parts:
        return Parts(memfd.holding("k", [b"kernel"]), memfd.holding("i", [b"initramfs"]), self.initramfs)

    async def template(self, shape: Shape, parts: Parts, directory: Path, key: str) -> tuple[Template, bool]:
        self.made.append((shape, key))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        is_new = key not in self.kept
        return Template(memfd.holding("m", [b"memory"]), memfd.holding("s", [b"state"])), is_new

    async def keep(self, template: Template, directory: Path, key: str) -> None:
        assert os.pread(template.memory, 6, 0) == b"memory"
        self.kept.append(key)
