"""Containers whose image is made for another machine: what their programs are run by, and what users are to know."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from corten.engine.containers.records import Record
from corten.errors import StartFailed
from corten.spec import platform as platforms
from corten.spec.platform import Platform

if TYPE_CHECKING:
    from corten.tasks.emulation import Emulation

_MOST = 100  # characters of what an image says of itself
_NOT_EXECUTABLE = 126  # the exit code of a program that the kernel does not take


def machine(platform: Platform | None) -> str:
    """`Record.machine` of a container with an image of this platform."""
    return platforms.emulated(platform)


async def needed(record: Record) -> Emulation | None:
    """What its programs need now; None for this machine's own."""
    return await _emulation(platforms.parse(record.machine)) if record.machine else None


async def _emulation(platform: Platform | None) -> Emulation:
    from corten.tasks.emulation import emulation  # for the few that need it

    return await asyncio.to_thread(emulation, platform)


async def warnings(platform: Platform | None, asked: bool, in_guest: bool = False) -> list[str]:
    """For the client that makes a container of an image of this platform; `asked`: it is the one that was asked for;
    `in_guest`: its programs run in a guest of that platform."""
    if not platforms.foreign(platform):
        return []
    said = []
    if not asked:
        said.append(
            f"The requested image's platform ({str(platform)[:_MOST]}) does not match the detected host platform "
            f"({platforms.host()}) and no specific platform was requested"
        )
    if in_guest:
        return said
    found = await _emulation(platform)
    if found.missing:
        said.append(found.missing)
    elif found.lines:
        said.append(
            f"programs for {platform} are run by {found.interpreter}, which is registered with the kernel "
            "(binfmt_misc) while the container runs"
        )
    return said


@contextmanager
def explained(found: Emulation | None) -> Iterator[None]:
    """The error of a program that cannot be executed, with the reason where that is known."""
    try:
        yield
    except StartFailed as error:
        if found is not None and found.missing and error.exit_code == _NOT_EXECUTABLE:
            raise StartFailed(f"{error}: {found.missing}", error.exit_code) from error
        raise
