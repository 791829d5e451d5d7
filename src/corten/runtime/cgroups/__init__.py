"""Control groups: the limits of a container, on v1, v2 and hybrid machines. Start reading at `group`."""

from corten.runtime.cgroups.dockerstats import docker as docker_stats
from corten.runtime.cgroups.group import Cgroup, create, make_unified, open
from corten.runtime.cgroups.layout import Layout, detect, here
from corten.runtime.cgroups.support import support
from corten.runtime.cgroups.tree import remove

__all__ = ["Cgroup", "Layout", "create", "detect", "docker_stats", "here", "make_unified", "open", "remove", "support"]
