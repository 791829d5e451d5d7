"""Setting one control file, and the ways in which it can fail."""

from __future__ import annotations

import errno
import os

from corten.errors import Invalid
from corten.kernel import cgroupfs

NOWHERE = -1  # stands for the directory of a controller that this machine does not have

_REFUSED = (errno.EINVAL, errno.ERANGE, errno.ENODEV, errno.ENXIO)


def put(directory: int, file: str, *values: object) -> bool:
    """Write `values`, each by itself. False when the machine has no such file, which the caller words as a warning.

    A value that the kernel does not take is Invalid; anything else stays the OSError that it is.
    """
    if directory == NOWHERE:
        return False
    try:
        cgroupfs.write(directory, file, *values)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in _REFUSED:
            why = os.strerror(error.errno).lower()
            raise Invalid(f"the kernel does not take {' '.join(map(str, values))} for {file}: {why}") from error
        raise
    return True


def put_weights(directory: int, file: str, *lines: str) -> bool:
    """The same for devices' weights: False as well when a device's scheduler has none (EOPNOTSUPP; bfq alone does)."""
    try:
        return put(directory, file, *lines)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return False


def has(directory: int, file: str) -> bool:
    """Whether the group has this control file."""
    if directory == NOWHERE:
        return False
    try:
        cgroupfs.read(directory, file)
    except FileNotFoundError:
        return False
    except OSError:  # a file that can only be written, or has nothing to say now
        return True
    return True
