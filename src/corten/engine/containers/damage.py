"""What is gone of a container's own directory or tree, or is something else there: one sentence says what."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from corten.engine.containers.container import Container
from corten.errors import Corrupt

_DAMAGED = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO)


@contextmanager
def whole(container: Container, where: str = "directory") -> Iterator[None]:
    """Around work in the container's own directory, or its tree. Corrupt when something of it is gone, or is something
    else: a disk was repaired, or files were removed there."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DAMAGED:
            raise
        name, reason = container.record.name, os.strerror(error.errno).lower()
        raise Corrupt(
            f"the {where} of container {name} is damaged: {error.filename or container.bundle}: {reason}; "
            "remove the container and create it again"
        ) from error
