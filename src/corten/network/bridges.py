"""Bridges and veth pairs: the devices of the bridge driver, made, checked and repaired. No network is known here."""

from __future__ import annotations

import errno
import ipaddress
import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from corten.errors import Conflict, Failed, Unsupported
from corten.kernel import rtnetlink, tap
from corten.kernel.netlink import Request, Socket
from corten.kernel.rtnetlink import Link
from corten.network import sysctls
from corten.network.interface import Interface, InterfaceSpec, configured, mac_of
from corten.network.links import HostLinks, Listing

# A bridge asks for neighbours with its link-local address. One that it makes itself is unusable for its first second.
_GATEWAY6 = ipaddress.IPv6Interface("fe80::1/64")


class BridgeGone(Failed):
    """Another program deleted the bridge."""


class Port(NamedTuple):
    """A host end in its bridge. `isolated`: no frames from or to another such port. `hairpin`: its own may return."""

    ifindex: int
    isolated: bool = False
    hairpin: bool = False


class Bridges:
    def __init__(self, links: HostLinks) -> None:
        self._links = links
        self._route = links.route
        self._next = random.randrange(1 << 16, 1 << 22, 2)  # indexes that the kernel is not near to
        self._masters: dict[str, int] = {}

    @property
    def masters(self) -> Mapping[str, int]:
        """The indexes of the bridges that were ensured, by name."""
        return self._masters

    def ensure(
        self, name: str, gateways: Sequence[Interface], mtu: int = 0, mac: str = "", listing: Listing | None = None
    ) -> None:
        """The bridge is there, up, with these addresses. Conflict when a device of that name is no bridge.

        A bridge that another program made keeps what else it has; ours has nothing else. `listing` is of this moment.
        """
        link = (listing.by_name.get(name) if listing else self._links.find(name)) or None
        if link is not None and self._only_reserved(link, listing):
            self._route.request(rtnetlink.delete_link(link.ifindex))
            link = None
        link = link or self._make(name, mac or mac_of(gateways[0].ip), mtu)
        if link.kind != "bridge":
            raise Conflict(f"device {name} exists and is no bridge: choose another bridge name")
        self._masters[name] = link.ifindex
        wanted = [*gateways]
        if any(g.version == 6 for g in gateways):
            wanted.append(_GATEWAY6)
        present = (listing or self._links.listing()).addresses.get(link.ifindex, [])
        requests = []
        if self._links.made(link):
            if link.alias != self._links.alias:  # an older version's
                requests.append(rtnetlink.alias(name, self._links.alias))
            self._silence(name, link.ifindex, any(g.version == 6 for g in gateways))
            requests += [rtnetlink.delete_address(link.ifindex, p) for p in present if p not in wanted]
        requests += [rtnetlink.address(link.ifindex, w) for w in wanted if w not in present]
        self._route.request(*requests, rtnetlink.route_localnet(link.ifindex), rtnetlink.up(link.ifindex))

    def _only_reserved(self, link: Link, listing: Listing | None) -> bool:
        """By `default_bridge`: it has the name and nothing else."""
        ours = self._links.made(link) and not link.up
        return ours and not (listing or self._links.listing()).addresses.get(link.ifindex)

    def _make(self, name: str, mac: str, mtu: int) -> Link:
        self._route.request(rtnetlink.bridge(name, mac, mtu), rtnetlink.alias(name, self._links.alias))
        link = self._links.find(name)
        if link is None:
            raise Failed(f"bridge {name} was made and is gone again")
        return link

    def _silence(self, name: str, index: int, ipv6: bool) -> None:
        """No IPv6 but what we give it, and no advertisement of a container changes this host's routes."""
        if self._links.has_ipv6:
            self._route.request(rtnetlink.no_link_local(index))
            sysctls.write(sysctls.IPV6 / "conf" / name / "accept_ra", "0")
            sysctls.write(sysctls.IPV6 / "conf" / name / "disable_ipv6", "0" if ipv6 else "1")

    def forget(self, name: str) -> None:
        """This bridge is not wanted any more. Idempotent."""
        self._masters.pop(name, None)

    def rejoin(self, name: str, ports: Sequence[Port], listing: Listing | None = None) -> dict[int, OSError]:
        """Ports that lost their bridge are its ports again; one that is gone is fine. Returns the errors by index.

        One that is to be isolated is down until it is: its frames must not reach a neighbour in between.
        """
        master = self._masters[name]
        masters = {index: link.master for index, link in self._among(ports, listing).items()}
        failed, joined = {}, []
        for port in ports:
            if masters.get(port.ifindex, master) == master:
                continue
            requests = [rtnetlink.down(port.ifindex), rtnetlink.enslave(port.ifindex, master)]
            requests += [rtnetlink.isolate_port(port.ifindex)] if port.isolated else []
            requests += [rtnetlink.hairpin_port(port.ifindex)] if port.hairpin and _hairpins() else []
            try:
                self._route.request(*requests, rtnetlink.up(port.ifindex))
                joined.append(rtnetlink.link_name(self._route, port.ifindex))
            except OSError as error:
                if error.errno != errno.ENODEV:
                    failed[port.ifindex] = error
        for device in [name, *joined] if joined else ():
            if device:
                rtnetlink.settle_carrier(self._route, device)
        return failed

    def _among(self, ports: Sequence[Port], listing: Listing | None) -> Mapping[int, Link]:
        if listing is None and len(ports) == 1:
            one = rtnetlink.link(self._route, ports[0].ifindex)
            return {} if one is None else {one.ifindex: one}
        return (listing or self._links.listing()).by_index

    def intact(self, name: str, gateways: Sequence[Interface]) -> bool:
        """The bridge is there, up, and has its addresses."""
        link = rtnetlink.link(self._route, self._masters[name])
        if link is None or not link.up or link.name != name:
            return False
        present = {a.interface for a in rtnetlink.addresses(self._route) if a.ifindex == link.ifindex}
        return present.issuperset(gateways)

    def joined(self, name: str, index: int) -> bool:
        """That device is a port of the bridge, or gone."""
        link = rtnetlink.link(self._route, index)
        return link is None or link.master == self._masters[name]

    def attach(
        self, bridge: str, host_name: str, port: Port, netns: int, inside: Socket, spec: InterfaceSpec
    ) -> tuple[int, int]:
        """Make a pair and configure its inner end. Returns the indexes of the inner and of the host end.

        `port` says how the host end is to be, but for its index. `netns` is the container's namespace, `inside` a
        socket in it. What was made is removed when this fails: Conflict for a name that is in use, BridgeGone,
        Unsupported, Failed.
        """
        host_index = self._pair(bridge, host_name, port, netns, spec)
        index = host_index + 1
        try:
            inside.request(*_inner(index, spec, self._links.has_ipv6))
            rtnetlink.settle_carrier(inside, spec.name)
            rtnetlink.settle_carrier(self._route, host_name)
            rtnetlink.settle_carrier(self._route, bridge)  # its first port gives it its own
        except BaseException:
            self._route.request(rtnetlink.delete_link(host_index))
            raise
        return index, host_index

    def attach_guest(
        self, bridge: str, host_name: str, port: Port, spec: InterfaceSpec, pin: Callable[[], None]
    ) -> tuple[int, int]:
        """Make a tap. Returns the descriptor of its other side, and the index of the device, which is a port of the
        bridge. `pin` is called before it is one. BridgeGone, Conflict, Unsupported."""
        try:
            fd = tap.make(host_name)
        except OSError as error:
            raise Unsupported(f"this kernel cannot make taps: {error.strerror}") from error
        try:
            index = socket.if_nametoindex(host_name)
            pin()
            self._route.request(
                *([rtnetlink.mtu(index, spec.mtu)] if spec.mtu else []),
                *([rtnetlink.no_link_local(index)] if self._links.has_ipv6 else []),
                rtnetlink.enslave(index, self._masters[bridge]),
                *([rtnetlink.isolate_port(index)] if port.isolated else []),
                *([rtnetlink.hairpin_port(index)] if port.hairpin and _hairpins() else []),
                rtnetlink.up(index),
            )
            rtnetlink.settle_carrier(self._route, host_name)
            rtnetlink.settle_carrier(self._route, bridge)
        except BaseException as error:
            os.close(fd)
            raise (self._refused(bridge, spec, error) if isinstance(error, OSError) else error) from error
        return fd, index

    def _pair(self, bridge: str, host_name: str, port: Port, netns: int, spec: InterfaceSpec) -> int:
        """The host end's index; the inner end has the next one."""
        master = self._masters[bridge]
        for _ in range(50):
            index = self._index()
            try:
                self._route.request(
                    rtnetlink.veth(host_name, index, master, spec.name, index + 1, spec.mac, netns, spec.mtu),
                    *([rtnetlink.no_link_local(index)] if self._links.has_ipv6 else []),
                    *([rtnetlink.isolate_port(index)] if port.isolated else []),
                    *([rtnetlink.hairpin_port(index)] if port.hairpin and _hairpins() else []),
                    rtnetlink.up(index),
                )
            except OSError as error:
                if error.errno == errno.EBUSY:  # another device has that index
                    continue
                raise self._refused(bridge, spec, error) from error
            return index
        raise Failed("no free device number was found in 50 tries")

    def _refused(self, bridge: str, spec: InterfaceSpec, error: OSError) -> Exception:
        if error.errno == errno.EEXIST:
            return Conflict(f"interface {spec.name} exists in the container already")
        if self._links.find(bridge) is None:
            return BridgeGone(f"bridge {bridge} was deleted")
        if error.errno == errno.EOPNOTSUPP:
            return Unsupported(f"this kernel cannot make veth pairs: {error.strerror}")
        return error

    def hairpin(self, index: int) -> None:
        """A port that publishes from now on: its own packets may return to it, where the bridge decides that."""
        if _hairpins():
            self._route.request(rtnetlink.hairpin_port(index))

    def _index(self) -> int:
        self._next = self._next + 2 if self._next < 1 << 24 else 1 << 16
        return self._next


def _hairpins() -> bool:
    """A published port that its own container uses returns as a frame; otherwise as a packet, by routing."""
    return sysctls.bridges_are_filtered()


def _inner(index: int, spec: InterfaceSpec, has_ipv6: bool) -> list[Request]:
    link_local = any(i.version == 6 and not i.ip.is_link_local for i in spec.interfaces)
    requests = configured(index, spec, has_ipv6, link_local)
    return requests + [rtnetlink.route(index, gateway, replace=True) for gateway in spec.gateways]
