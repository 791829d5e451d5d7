"""Control groups: the limits of a container, on v1, v2 and hybrid machines. Start reading at `group`."""

from corten.runtime.cgroups.group import Cgroup, create, open, remove
from corten.runtime.cgroups.layout import Layout, detect

__all__ = ["Cgroup", "Layout", "create", "detect", "open", "remove"]
