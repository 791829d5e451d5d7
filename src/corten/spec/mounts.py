"""The one shape that file-system rooms produce and the runtime consumes."""

from __future__ import annotations

from typing import NamedTuple


class Mount(NamedTuple):
    """A mount as the OCI runtime specification writes it (section "Mounts"); nothing has been mounted yet.

    `target` is absolute inside the container; for a root file system it is "/". `type` is "overlay", "bind",
    "tmpfs", ... and `options` are mount(8)'s words, in order.
    """

    type: str
    source: str
    target: str
    options: tuple[str, ...] = ()
