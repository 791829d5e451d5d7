"""What an unpack worker does: confine itself, then apply one tar stream to one tree.

The process is forked by the launcher. Its standard output is /dev/null, it has no other descriptors, and it ends
after this; its result, or the exception, goes back by the launcher's own wire.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Any

from corten.layers.apply import Applying, apply
from corten.layers.confine import confine
from corten.layers.entries import Limits
from corten.layers.source import Source

if TYPE_CHECKING:
    from corten.layers.sums import Written

_F_SETPIPE_SZ = 1031
PIPE = 1 << 20  # bytes; the default of 64 KiB costs a wake-up for every 64 KiB


def unpack(
    tree_fd: int,
    source_fd: int,
    limits: Limits | None = None,
    layer: bool = True,
    written: Written | None = None,
    owned: bool = False,
    kind: type[Applying] | None = None,
) -> dict[str, Any]:
    """Apply the uncompressed tar stream at `source_fd` to the empty directory at `tree_fd`. Blocks until its end.

    Returns {"size": bytes, "inodes": count, "implied": [path], "links": [[path, target]], "landlock": abi,
    "network": bool}; paths are strings with surrogate escapes. Raises Invalid, Exhausted or OSError, whose
    text names the entry; the tree is then to be thrown away. Both descriptors stay the caller's.
    `layer`, `written`, `owned`, `kind`: see `apply`.
    """
    confined = confine(tree_fd)
    os.umask(0)
    _widen(source_fd)
    source, limits = Source(source_fd), limits or Limits()
    applied = apply(tree_fd, source, limits, umask=0, layer=layer, written=written, owned=owned, kind=kind)
    return {
        "size": applied.size,
        "inodes": applied.inodes,
        "implied": [os.fsdecode(path) for path in applied.implied],
        "links": [[os.fsdecode(path), os.fsdecode(target)] for path, target in applied.links],
        "landlock": confined.landlock,
        "network": confined.network,
    }


def _widen(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, PIPE)
    except OSError:
        return  # no pipe, or the user's pipe quota is spent: slower, not wrong
