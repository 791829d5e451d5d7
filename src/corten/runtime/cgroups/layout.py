"""Which control group trees this machine has: v1, v2, or both (hybrid)."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from corten.kernel import cgroupfs
from corten.kernel.cgroupfs import Hierarchy


class Layout(NamedTuple):
    """The mounted trees, v1 first. A controller lives in exactly one of them, so a hybrid machine needs no code of its
    own: who wants `memory` asks where it is."""

    hierarchies: tuple[Hierarchy, ...]

    @property
    def mode(self) -> str:
        """ "v1", "v2", "hybrid", or "none" when nothing is mounted."""
        versions = "".join(sorted({str(h.version) for h in self.hierarchies}))
        return {"": "none", "1": "v1", "2": "v2", "12": "hybrid"}[versions]

    @property
    def version(self) -> int:
        """What Docker calls the version: 2 only when everything is v2."""
        return 2 if self.mode == "v2" else 1

    @property
    def unified(self) -> Hierarchy | None:
        """The v2 tree."""
        return next((h for h in self.hierarchies if h.version == 2), None)

    def of(self, controller: str) -> Hierarchy | None:
        """The tree in which `controller` is found. v1 comes first: a v1 mount takes the controller away from v2."""
        return next((h for h in self.hierarchies if controller in h.controllers), None)


@cache
def here() -> Layout:
    """`detect`, once for a process and those that are forked from it."""
    return detect()


def detect(mountinfo: str = "") -> Layout:
    """The trees of the calling process's mount namespace; `mountinfo` stands in for /proc/self/mountinfo in tests."""
    if not mountinfo:
        with open("/proc/self/mountinfo") as file:
            mountinfo = file.read()
    return Layout(cgroupfs.hierarchies(mountinfo))
