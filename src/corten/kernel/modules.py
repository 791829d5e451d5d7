"""Kernel modules: finit_module(2)."""

from __future__ import annotations

import errno
import os

from corten.kernel import syscall as sys


def load(path: str) -> None:
    """Nothing happens when it is there already. OSError: ENOENT for unknown symbols as well."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sys.syscall("finit_module", sys.SYS_finit_module, fd, b"", 0)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
    finally:
        os.close(fd)
