"""Runtimes by name: our own, and OCI binaries of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from corten.errors import Invalid
from corten.vm.contract import RUNTIME

_OURS = "corten"
VM = RUNTIME  # guests with a kernel of their own (`plan.isolation`)


class OciRuntime(NamedTuple):
    """`path` is "corten" for our own, "vm" for guests. Any other without a slash is a name that PATH did not have when
    it was looked up."""

    path: str
    args: tuple[str, ...] = ()  # before its verb

    @property
    def external(self) -> bool:
        """It is a binary that is executed."""
        return self.path not in (_OURS, VM)


_OWN = OciRuntime(_OURS)
#: What clients call the runtime that is always there, after dockerd's; one that is configured by such a name is meant.
OWN_NAMES = (_OURS, "runc", "io.containerd.runc.v2")


def find(name: str, configured: Mapping[str, OciRuntime]) -> OciRuntime:
    """Raises Invalid for an unknown name, and for a binary that is not there."""
    if (found := configured.get(name)) is None:
        if name in ("", *OWN_NAMES):
            return _OWN
        if name == VM:
            return OciRuntime(VM)
        raise Invalid(f"unknown or invalid runtime name: {name}")
    if "/" not in found.path:
        raise Invalid(f"runtime {name}: {found.path} is not in the daemon's PATH")
    return found


def names(configured: Mapping[str, OciRuntime]) -> frozenset[str]:
    return frozenset((*OWN_NAMES, VM, *configured))


def shown(configured: Mapping[str, OciRuntime]) -> dict[str, dict[str, object]]:
    """Docker's `info`."""
    all_ = {**dict.fromkeys(OWN_NAMES, OciRuntime("corten-oci")), VM: OciRuntime("qemu"), **configured}
    return {
        name: {"path": found.path, **({"runtimeArgs": list(found.args)} if found.args else {})}
        for name, found in all_.items()
    }
