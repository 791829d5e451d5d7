"""The devices of this host, and which of them are one daemon's.

Everything is synchronous and takes less than a millisecond, but `delete`: the kernel waits for an RCU grace period
under its global network lock (10 to 20 ms), so that belongs into a thread, with a socket of its own.
"""

from __future__ import annotations

import errno
import hashlib
import random
from collections.abc import Sequence

from corten.kernel import rtnetlink
from corten.kernel.netlink import Socket
from corten.kernel.rtnetlink import Link
from corten.network.interface import Interface
from corten.network.sysctls import IPV6


class Listing:
    """The devices and addresses of this host as they were, for looking at many: making it takes as long as there
    are devices."""

    def __init__(self, route: Socket) -> None:
        self.by_index = {link.ifindex: link for link in rtnetlink.links(route)}
        self.by_name = {link.name: link for link in self.by_index.values()}
        self.addresses: dict[int, list[Interface]] = {}
        for address in rtnetlink.addresses(route):
            self.addresses.setdefault(address.ifindex, []).append(address.interface)


class HostLinks:
    """`tag` marks a daemon's devices, so that several daemons do not remove each other's. `route` is a NETLINK_ROUTE
    socket in this host's namespace, `prefix` the start of the names of endpoints' devices on this host, `alias` that of
    the devices that networks are built on.
    """

    def __init__(self, tag: str, owner: str = "") -> None:
        self.prefix = "v" + hashlib.sha256(tag.encode()).hexdigest()[:5]
        self.alias, self._mark = alias_of(tag, owner), alias_of(tag, "")
        self.route = Socket()
        self.has_ipv6 = IPV6.exists()

    def close(self) -> None:
        self.route.close()

    def find(self, name: str) -> Link | None:
        return rtnetlink.link_named(self.route, name)

    def marked(self, name: str) -> Link | None:
        """The device of that name, when a daemon of this tag made it."""
        link = self.find(name)
        return link if link is not None and self.made(link) else None

    def made(self, link: Link) -> bool:
        """A daemon of this tag made that device."""
        return link.alias == self._mark or link.alias.startswith(f"{self._mark} ")

    def alive(self, index: int, name: str) -> bool:
        """The device is still there (an index can be given again, a name cannot be ours again)."""
        return rtnetlink.link_name(self.route, index) == name

    def listing(self) -> Listing:
        return Listing(self.route)

    def leftovers(self, known: set[str]) -> list[Link]:
        """Devices of this daemon that are not in `known`: of endpoints, and those that networks were built on."""
        return [
            link
            for link in rtnetlink.links(self.route)
            if link.name not in known
            and (
                (link.kind in ("veth", "tun") and link.name.startswith(self.prefix))
                or (link.kind == "ifb" and link.name.startswith(beside(self.prefix)))
                or self.made(link)
            )
        ]


def beside(name: str) -> str:
    """The device (ifb) by way of which comes what arrives at an endpoint's device on this host, where it is limited."""
    return "i" + name[1:]


def alias_of(tag: str, owner: str) -> str:
    """The alias of a device. `owner` distinguishes daemons that had the same tag, one after the other."""
    return f"corten {tag} {owner}".rstrip()


def delete(route: Socket, indexes: Sequence[int]) -> None:
    """Remove devices. Slow, see above, but many take hardly longer than one. Those that are gone are skipped."""
    number = random.randrange(1 << 20, 1 << 31)  # a group that no other device is in
    requests = [rtnetlink.group(index, number) for index in indexes] + [rtnetlink.delete_group(number)]
    for request in requests:
        try:
            route.request(request)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise


def delete_all(indexes: Sequence[int]) -> None:
    """`delete` with a socket of its own, for a thread."""
    with Socket() as route:
        delete(route, indexes)
