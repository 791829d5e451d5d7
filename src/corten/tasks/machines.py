"""What guests begin from, made by children of the launcher: an emulated guest is booted outside of the daemon."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from corten.spec.json import Json
from corten.tasks.answers import content
from corten.tasks.launcher import Asked
from corten.vm.contract import Shape

if TYPE_CHECKING:  # loaded with the first guest
    from corten.vm.template import Template

_PARTS = 120.0  # seconds
_BOOT = 300.0
_KEEP = 600.0


class Parts(NamedTuple):
    """Descriptors, the receiver's to close, and the name of the initramfs, which changes with what is in it."""

    kernel: int
    initramfs: int
    name: str


class LauncherMachines:
    """`guests`' workers. Failed, StartFailed, Unavailable, and what is said here."""

    def __init__(self, launcher: Asked) -> None:
        self._launcher = launcher

    async def parts(self, kernel: Path, directory: Path, architecture: str = os.uname().machine) -> Parts:
        """Of the kernel in the directory `kernel`, which is of that architecture; the initramfs is kept in `directory`.
        NotFound, Unsupported."""
        request = {"do": "guest parts", "kernel": str(kernel), "initramfs": str(directory),
                   "architecture": architecture}  # fmt: skip
        answer, (image, initramfs) = await self._made(request, [], _PARTS, 2)
        return Parts(image, initramfs, str(answer["initramfs"]))

    async def template(self, shape: Shape, parts: Parts, directory: Path, key: str) -> tuple[Template, bool]:
        """A template, the receiver's to close, and whether it was booted: `directory` may have one under `key`."""
        request = {"do": "guest boot", "shape": shape._asdict(), "directory": str(directory), "key": key}
        answer, (memory, state) = await self._made(request, [parts.kernel, parts.initramfs], _BOOT, 2)
        from corten.vm.template import Template

        return Template(memory, state), bool(answer["booted"])

    async def keep(self, template: Template, directory: Path, key: str) -> None:
        """Store it. What the directory has under other keys is removed."""
        request = {"do": "guest keep", "directory": str(directory), "key": key}
        await self._made(request, [*template], _KEEP, 0)

    async def _made(self, request: Json, fds: list[int], seconds: float, count: int) -> tuple[Json, list[int]]:
        answer, given = await self._launcher.ask(request, fds, seconds)
        found: Json = content(answer)
        assert len(given) == count, f"{len(given)} descriptors in an answer that has {count}"
        return found, given
