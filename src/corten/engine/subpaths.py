"""Directories inside volumes (`volume-subpath`), for a start and for looking into a container that is stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from functools import partial

from corten.aio.threads import alone
from corten.errors import Invalid, Unavailable
from corten.kernel import paths
from corten.plan.facts import MountPoint

_LOOK = 10.0  # seconds


async def with_subpaths(points: Sequence[MountPoint], held: ExitStack | AsyncExitStack) -> list[MountPoint]:
    """The same mounts, those of a directory inside a volume by a descriptor that `held` closes.

    A volume belongs to containers: a link that one of them has put there leads nowhere out of it, and those that hold
    up its directories hold up this call only. Raises Invalid where there is no such directory, Unavailable.
    """
    return [await inside(point, held) if point.subpath else point for point in points]


async def inside(point: MountPoint, held: ExitStack | AsyncExitStack) -> MountPoint:
    try:
        fd = await alone(partial(_open, point), _LOOK, os.close)
    except TimeoutError:
        raise Unavailable(f"the directory of {point.type} {point.name} does not answer") from None
    except OSError as error:
        raise Invalid(
            f"{point.type} {point.name} has no {point.subpath!r} to mount: {os.strerror(error.errno or 0)}"
        ) from error
    held.callback(os.close, fd)
    return replace(point, source=f"/proc/{os.getpid()}/fd/{fd}")


def _open(point: MountPoint) -> int:
    top = os.open(point.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return paths.open_in(top, point.subpath)
    finally:
        os.close(top)
