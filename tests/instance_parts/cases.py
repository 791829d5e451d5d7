"""All cases of the seam `Instance`: each of these modules adds its own to `world.CASES`."""

from __future__ import annotations

from instance_parts import life, networks, processes, trees
from instance_parts.world import CASES

MODULES = (life, processes, trees, networks)
#: What takes a tap.
NETWORKS = (networks.an_interface, networks.a_network_that_changes)

__all__ = ["CASES", "NETWORKS"]
