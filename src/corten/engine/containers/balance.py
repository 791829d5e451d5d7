"""Ports that containers share: HostConfig.BalancedPorts, an addition of ours (docs/networks.md).

A container is sent connections while it runs, is not paused and, where it has a health check, is healthy. One that a
new daemon finds running is, until its check says otherwise: traffic does not stop because the daemon has.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.errors import Conflict
from corten.network.balancer import Shared
from corten.network.ports import PortRequest
from corten.spec.docker.host_config import BalancedPort

log = logging.getLogger(__name__)


async def share(containers: Containers, container: Container, stack: AsyncExitStack) -> None:
    """Once it is connected. Raises Invalid, Conflict, Failed (port in use)."""
    for each in _shared(container.record.host_config.balanced_ports):
        stack.callback(containers.networks.unshare, container.id)
        await containers.networks.share(each, container.id)


def adopt(containers: Containers, container: Container, stack: AsyncExitStack) -> None:
    """Of a run that outlived an earlier daemon."""
    for each in _shared(container.record.host_config.balanced_ports):
        stack.callback(containers.networks.unshare, container.id)
        try:
            containers.networks.adopt_shared(each, container.id)
        except Conflict as error:
            log.warning("container %s does not share port %s: %s", container.id, each.request.first, error)


def _shared(given: Sequence[BalancedPort] | None) -> list[Shared]:
    found = []
    for each in given or ():
        port, _, protocol = each.port.partition("/")
        host_ip = str(ipaddress.ip_address(each.host_ip)) if each.host_ip else ""
        first = int(each.host_port)
        found.append(Shared(each.group, PortRequest(int(port), protocol.lower() or "tcp", host_ip, first, first)))
    return found
