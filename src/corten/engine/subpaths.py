"""Directories inside volumes (`volume-subpath`), for a start and for looking into a container that is stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace

from corten.errors import Invalid
from corten.kernel import paths
from corten.plan.facts import MountPoint


def with_subpaths(points: Sequence[MountPoint], held: ExitStack | AsyncExitStack) -> list[MountPoint]:
    """The same mounts, those of a directory inside a volume by a descriptor that `held` closes. Invalid: it has none.

    A volume belongs to containers: a link that one of them has put there leads nowhere out of it.
    """
    return [_inside(point, held) if point.subpath else point for point in points]


def _inside(point: MountPoint, held: ExitStack | AsyncExitStack) -> MountPoint:
    top = os.open(point.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = paths.open_in(top, point.subpath)
    except OSError as error:
        raise Invalid(f"volume {point.name} has no {point.subpath!r} to mount: {error.strerror}") from error
    finally:
        os.close(top)
    held.callback(os.close, fd)
    return replace(point, source=f"/proc/{os.getpid()}/fd/{fd}")
