"""The driver "host": the container has this host's network, and no namespace of its own."""

from __future__ import annotations

from corten.network.driver import Reachability
from corten.network.drivers.none import NoneDriver


class HostDriver(NoneDriver):
    """`driver.Driver`: there is nothing to make either. It reads this host's /etc/hosts and resolv.conf."""

    reachability = Reachability(addresses=False, host_files=True)
