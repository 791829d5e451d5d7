"""A sealed copy of the interpreter, to run the launcher from.

A process that enters a container has the engine's executable as its /proc/self/exe, and root in the container may
open that for writing as soon as the process has ended or executes something else (CVE-2019-5736). The executable is
therefore a file of a read-only overlay that exists only as a descriptor: opening it for writing fails with EROFS, for
ever and for all processes.
"""

from __future__ import annotations

import os
import sys
import tempfile

from corten.kernel import mount as m


def sealed_executable() -> int:
    """A descriptor of this interpreter's executable in a read-only overlay; the caller closes it."""
    binary = os.path.realpath(sys.executable)
    directory, name = os.path.split(binary)
    with tempfile.TemporaryDirectory(prefix="corten-seal-") as empty:  # overlay needs two layers to be read-only
        attributes = m.MOUNT_ATTR_RDONLY | m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOSUID
        tree = m.new("overlay", (f"lowerdir={_escape(directory)}:{empty}",), attributes, "corten-seal")
    try:
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree)
    finally:
        os.close(tree)


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
