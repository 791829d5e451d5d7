"""A container's working directory is there from its creation on, made where its image has none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

from corten.engine.containers.container import Container
from corten.engine.containers.stores import Stores
from corten.errors import Invalid
from corten.kernel.xattr import OPAQUE
from corten.plan import bundle
from corten.plan.facts import HostFacts
from corten.spec.mounts import Mount

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


async def make(stores: Stores, facts: HostFacts, container: Container) -> None:
    """Raises Invalid where something else is in its place, or it cannot be a path."""
    path = container.record.config.working_dir
    if "\0" in path or len(path) > 4095:
        raise Invalid("the working directory is malformed")
    parts = [part for part in path.split("/") if part]
    mounts = stores.snapshots.mounts(container.id)
    if parts and not _has_directory(mounts, parts):
        await stores.make_directory(mounts, path, bundle.root_owner(container.record.host_config, facts))


def _has_directory(mounts: Sequence[Mount], parts: Sequence[str]) -> bool:
    """Whether the image certainly has this directory, without a mount or a process: most have. Links and deletions,
    which need a look at the whole tree, are not followed: then the answer is False."""
    for layer in _layers(mounts):
        if (found := _in_layer(layer, parts)) is not None:
            return found
    return False


def _layers(mounts: Iterable[Mount]) -> Iterator[str]:
    """Directories that a container's root is made of, the uppermost first."""
    for mount in mounts:
        lower = next((word for word in mount.options if word.startswith("lowerdir=")), "")
        yield from lower.removeprefix("lowerdir=").split(":") if lower else (mount.source,)


def _in_layer(layer: str, parts: Sequence[str]) -> bool | None:
    """None when the layer says nothing of it, and the next one below is to be asked."""
    with ExitStack() as held:
        here = os.open(layer, _FLAGS)
        held.callback(os.close, here)
        opaque = False
        for part in parts:
            try:
                here = os.open(part, _FLAGS, dir_fd=here)
            except FileNotFoundError:
                return False if opaque else None
            except OSError:  # a link, a file, a deletion, a name that is too long
                return False
            held.callback(os.close, here)
            opaque = opaque or _is_opaque(here)
        return True


def _is_opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, OPAQUE) == b"y"
    except OSError:
        return False
