"""Runtimes by name: our own, and OCI binaries of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from corten.errors import Invalid


class OciRuntime(NamedTuple):
    """`path` is "corten" for our own. Without a slash it is a name that PATH did not have when it was looked up."""

    path: str
    args: tuple[str, ...] = ()  # before its verb

    @property
    def ours(self) -> bool:
        return self.path == _OURS


_OURS = "corten"
_OWN = OciRuntime(_OURS)
#: What clients call the runtime that is always there, after dockerd's; one that is configured by such a name is meant.
OWN_NAMES = (_OURS, "runc", "io.containerd.runc.v2")


def find(name: str, configured: Mapping[str, OciRuntime]) -> OciRuntime:
    """Raises Invalid for an unknown name, and for a binary that is not there."""
    if (found := configured.get(name)) is None:
        if name in ("", *OWN_NAMES):
            return _OWN
        raise Invalid(f"unknown or invalid runtime name: {name}")
    if "/" not in found.path:
        raise Invalid(f"runtime {name}: {found.path} is not in the daemon's PATH")
    return found


def names(configured: Mapping[str, OciRuntime]) -> frozenset[str]:
    return frozenset((*OWN_NAMES, *configured))


def shown(configured: Mapping[str, OciRuntime]) -> dict[str, dict[str, object]]:
    """Docker's `info`."""
    all_ = {**dict.fromkeys(OWN_NAMES, OciRuntime("corten-oci")), **configured}
    return {
        name: {"path": found.path, **({"runtimeArgs": list(found.args)} if found.args else {})}
        for name, found in all_.items()
    }
