"""What every guest begins from, kept in one place for all: kernel, initramfs, and a template.

    guest = await guests.begin(memory, cpus)     # the first one takes a boot, or what the disk has
    guest.section, guest.descriptors             # for a Create request
    guest.close()

A template belongs to one kernel, one initramfs, one QEMU and one command line: when any of them is another one, the
next guest begins from a new template, and guests that run keep what they have. Starts at the same time wait for one
making; it goes on when a client does not wait any more. An error is that of all who wait, and the next start tries
again.

There are two: one with the memory of a guest without a limit, and one for guests that have less, and for those whose
memory another process has to see (`shared`), which has no pages but the boot's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from corten.aio.background import Background
from corten.aio.tasks import end
from corten.errors import NotFound, Unsupported
from corten.guests import host
from corten.guests.host import Accelerator
from corten.tasks.machines import Parts
from corten.vm.contract import GuestSection, Shape

if TYPE_CHECKING:  # loaded with the first guest
    from corten.vm.template import Template

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """`kernel` is a directory, "" for the first of `host.PLACES`; `memory` bytes for guests without a limit; without
    `template` each guest boots, and shares no page with another one."""

    kernel: str = ""
    memory: int = 1 << 30
    template: bool = True


class Workers(Protocol):
    """`tasks.machines.LauncherMachines`."""

    async def parts(self, kernel: Path, directory: Path, architecture: str) -> Parts: ...

    async def template(self, shape: Shape, parts: Parts, directory: Path, key: str) -> tuple[Template, bool]: ...

    async def keep(self, template: Template, directory: Path, key: str) -> None: ...


class Guest(NamedTuple):
    """For one request: descriptors as `GuestSection` says, to be closed by `close` when it was sent."""

    section: GuestSection
    descriptors: tuple[int, ...]

    def close(self) -> None:
        for fd in self.descriptors:
            os.close(fd)


@dataclass(frozen=True, slots=True)
class _Origin:
    """What guests begin from, as long as `marks` are what the files have."""

    marks: object
    shape: Shape
    parts: Parts
    template: Template | None

    def descriptors(self) -> tuple[int, ...]:
        return tuple(self.template) if self.template else (self.parts.kernel, self.parts.initramfs)

    def close(self) -> None:
        for fd in (self.parts.kernel, self.parts.initramfs, *(self.template or ())):
            os.close(fd)


class _Sorts(NamedTuple):
    """Of one architecture."""

    plain: _Sort
    usual: _Sort


class Guests:
    """`directory` is the data root's, made when it is needed first."""

    def __init__(self, directory: Path, workers: Workers, settings: Settings) -> None:
        self._directory, self._workers, self._settings = directory, workers, settings
        self._accelerator: asyncio.Task[Accelerator] | None = None
        self._sorts = {host.HERE: self._of(host.HERE)}

    def _of(self, architecture: str) -> _Sorts:
        settings, behind = self._settings, "" if architecture == host.HERE else f"-{architecture}"
        plain = _Sort(self._directory, f"templates-small{behind}", 0, self._workers, settings, architecture)
        plugged = host.plugged(settings.memory) if settings.template else 0
        if not plugged:
            return _Sorts(plain, plain)
        usual = _Sort(self._directory, f"templates{behind}", plugged, self._workers, settings, architecture)
        return _Sorts(plain, usual)

    async def accelerator(self) -> Accelerator:
        """Found out once."""
        if self._accelerator is None:
            self._accelerator = asyncio.get_running_loop().create_task(asyncio.to_thread(host.accelerator))
        return await asyncio.shield(self._accelerator)

    async def check(self, architecture: str = host.HERE) -> None:
        """Raises Unsupported with the remedy where there cannot be any."""
        try:
            await asyncio.to_thread(_marks, self._settings, "", architecture)
        except NotFound as error:
            raise Unsupported(str(error)) from None

    async def begin(
        self,
        limit: int = 0,
        cpus: int = 0,
        boots: Callable[[], None] = lambda: None,
        shared: bool = False,
        architecture: str = host.HERE,
    ) -> Guest:
        """For a container that may have `limit` bytes and `cpus` processors; 0 for the settings' memory, and for the
        processors of the boot. `boots` is called when a guest has to boot for the template first. `shared`: the host
        shares directories with it. One of another `architecture` (uname's word) is emulated. NotFound without a kernel,
        Unsupported without QEMU, Exhausted without memory, StartFailed with the last words of a guest that does not
        boot, Failed, Unavailable."""
        memory = host.memory(limit or self._settings.memory)
        accelerator = (await self.accelerator()).name if architecture == host.HERE else "tcg"
        sorts = self._sorts.setdefault(architecture, self._of(architecture))
        sort = sorts.plain if shared or memory < host.MEMORY + sorts.usual.plugged else sorts.usual
        origin = await sort.current(accelerator, boots)
        most = origin.shape.max_cpus
        section = GuestSection(
            origin.shape,
            origin.template is not None,
            min(memory, origin.shape.max_memory),
            min(cpus or origin.shape.cpus, most),
        )
        return Guest(section, tuple(map(os.dup, origin.descriptors())))

    async def close(self) -> None:
        """What is being made is given up."""
        if self._accelerator is not None:  # a thread, which cannot be given up
            await asyncio.wait({self._accelerator})
        for sorts in self._sorts.values():
            for sort in sorts:
                await sort.close()


class _Sort:
    """Guests that begin from the same. Their template is kept in the subdirectory `name`."""

    def __init__(
        self, directory: Path, name: str, plugged: int, workers: Workers, settings: Settings, architecture: str
    ) -> None:
        self.plugged = plugged
        self._architecture = architecture
        self._directory, self._kept = directory, directory / name
        self._workers = workers
        self._settings = settings
        self._making: asyncio.Task[_Origin] | None = None
        self._origin: _Origin | None = None
        self._boots = False  # what is being made
        self._waiting: list[Callable[[], None]] = []  # for it, to be called when it boots
        self._background = Background()

    async def close(self) -> None:
        await end([self._making] if self._making is not None else [])
        await self._background.settle()
        if self._origin is not None:
            self._origin.close()
            self._origin = None

    async def current(self, accelerator: str, boots: Callable[[], None]) -> _Origin:
        marks = await asyncio.to_thread(_marks, self._settings, accelerator, self._architecture)
        if self._origin is not None and self._origin.marks == marks:
            return self._origin
        if self._making is None:
            self._making = asyncio.get_running_loop().create_task(self._make(marks, accelerator))
            self._making.add_done_callback(self._made)
        if self._boots:
            boots()
        else:
            self._waiting.append(boots)
        return await asyncio.shield(self._making)

    async def _make(self, marks: object, accelerator: str) -> _Origin:
        settings = self._settings
        host.check_memory()
        architecture = self._architecture
        _, place = await asyncio.to_thread(host.kernel, settings.kernel, architecture)
        shape = host.shape(host.qemu(architecture), accelerator, self.plugged, architecture)
        behind = "" if architecture == host.HERE else f"-{architecture}"
        parts = await self._workers.parts(place, self._directory / f"initramfs{behind}", architecture)
        template = None
        try:
            if settings.template:
                template = await self._template(shape, parts, _key(shape, parts.name, marks))
        finally:
            if template is None and settings.template:
                os.close(parts.kernel)
                os.close(parts.initramfs)
        return _Origin(marks, shape, parts, template)

    async def _template(self, shape: Shape, parts: Parts, key: str) -> Template:
        from corten.vm import kept
        from corten.vm.template import Template

        if not kept.is_there(self._kept, key):
            log.info("a guest boots, to be cloned: where it is emulated that takes half a minute")
            self._boots, waiting, self._waiting = True, self._waiting, []
            for boots in waiting:
                boots()
        template, is_new = await self._workers.template(shape, parts, self._kept, key)
        if is_new:
            log.info("a guest was booted, to be cloned")
            copies = Template(*map(os.dup, template))
            self._background.spawn(self._keep(copies, key), "storing the template of guests")
        return template

    async def _keep(self, template: Template, key: str) -> None:
        try:
            await self._workers.keep(template, self._kept, key)
        finally:
            for fd in template:
                os.close(fd)

    def _made(self, making: asyncio.Task[_Origin]) -> None:
        self._making, self._boots, self._waiting = None, False, []
        if making.cancelled() or making.exception() is not None:
            return
        if self._origin is not None:
            self._origin.close()
        self._origin = making.result()


def _marks(settings: Settings, accelerator: str, architecture: str) -> object:
    """Of all that a template depends on, and that may change while this daemon runs. Raises as `Guests.begin`."""
    kernel, place = host.kernel(settings.kernel, architecture)
    program = host.qemu(architecture)
    return (
        program, host.mark(Path(program)), str(place), str(kernel.image), host.mark(kernel.image),
        accelerator, settings.template
    )  # fmt: skip


def _key(shape: Shape, initramfs: str, marks: object) -> str:
    """The name of a template: the command line, and what the files in it are. With KVM also the processor, which guests
    see as it is."""
    from corten.vm.machine import Descriptors, line

    arguments = line(shape, Descriptors(0, 1, 2, memory=3, kernel=4, initramfs=5)).arguments
    processor = _processor() if shape.accelerator == "kvm" else ""
    text = json.dumps([arguments, shape.plugged, initramfs, marks, processor, os.uname().release if processor else ""])
    return hashlib.sha256(text.encode()).hexdigest()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = ("model name", "flags", "microcode")
    return "\n".join(next((line for line in lines if line.startswith(name)), "") for name in names)
