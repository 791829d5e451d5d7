"""The one shape that file-system rooms produce and the runtime consumes."""

from __future__ import annotations

from typing import NamedTuple

from corten.spec.json import Json


class Mount(NamedTuple):
    """A mount as the OCI runtime specification writes it (section "Mounts"); nothing has been mounted yet.

    `target` is absolute inside the container; for a root file system it is "/". `type` is "overlay", "bind",
    "tmpfs", ... and `options` are mount(8)'s words, in order.
    """

    type: str
    source: str
    target: str
    options: tuple[str, ...] = ()

    def entry(self) -> Json:
        """An entry of the specification's "mounts"; `corten.runtime.mountplan.parse` reads it."""
        return {"type": self.type, "source": self.source, "destination": self.target, "options": list(self.options)}
