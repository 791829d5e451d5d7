"""`engine.containers.parents.Groups` on this machine's control groups."""

from __future__ import annotations

import errno
import os

from corten.kernel.cgroupfs import Hierarchy
from corten.runtime import cgroups


class HostGroups:
    def __init__(self) -> None:
        self._trees: tuple[Hierarchy, ...] = tuple(cgroups.detect().hierarchies)

    def missing(self, path: str) -> dict[str, str]:
        parts = [part for part in path.split("/") if part]
        above = ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]
        places = {tree.mountpoint + one: one for tree in self._trees for one in above}
        return {directory: group for directory, group in places.items() if not os.path.isdir(directory)}

    def remove(self, directory: str) -> bool:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True
