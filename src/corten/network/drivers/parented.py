"""What macvlan and ipvlan have in common: a device in the container on top of a device of the host, its parent.

Containers are then neighbours of the parent's network, with addresses of that network; this host itself cannot talk to
them through the parent (the kernel's rule), and its firewall sees nothing of them. A network without a parent gets one
of its own that leads nowhere.
"""

from __future__ import annotations

import asyncio
import errno
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from corten.errors import Conflict, CortenError, Failed, Invalid, NotFound, Unsupported
from corten.kernel import rtnetlink
from corten.kernel.netlink import Request, Socket
from corten.kernel.rtnetlink import IPAddress, Link
from corten.network import options, rate
from corten.network.definition import Definition
from corten.network.driver import OUTSIDE, ActiveNetwork, Namespace, Reachability
from corten.network.drivers.unwatched import UnwatchedDriver
from corten.network.endpoint import Endpoint
from corten.network.guest import GuestNamespace
from corten.network.interface import InterfaceSpec, configured
from corten.network.links import HostLinks, delete_all

_VLAN = re.compile(r"[0-9]{1,4}\Z")
_INDEXES = 1 << 24, 1 << 28  # of devices in containers, apart from those of pairs


class ParentedDriver(UnwatchedDriver, ABC):
    """`driver.Driver`, but for the kernel's kind of device and its modes (linux/if_link.h). `warnings` gets what
    `restore` could not do."""

    reachability = Reachability()
    predefined_only = False
    kind: ClassVar[str]
    modes: ClassVar[Mapping[str, int]]
    default_mode: ClassVar[str]

    def __init__(self, links: HostLinks, warnings: list[str]) -> None:
        self._links, self._warnings = links, warnings
        self._next = random.randrange(*_INDEXES)

    # --------------------------------------------------------------------------------------------------- networks

    def check(self, definition: Definition) -> None:
        name = self.device(definition)
        if len(name.encode()) > 15 or "/" in name or any(c.isspace() for c in name):
            raise Invalid(f"invalid parent {name!r}: the name of a device of this host is needed")
        _ = (self.mode(definition), definition.mtu)  # each raises Invalid

    def mode(self, definition: Definition) -> str:
        """Invalid for one that the driver does not have."""
        mode = definition.options.get(f"{self.kind}_mode") or self.default_mode
        if mode not in self.modes:
            raise Invalid(f"unknown {self.kind} mode {mode!r}: one of {', '.join(self.modes)} is needed")
        return mode

    def device(self, definition: Definition) -> str:
        """The parent. Docker's name for one that is the network's own."""
        return definition.options.get(options.PARENT) or f"dm-{definition.id[:12]}"

    def restore(self, networks: Sequence[ActiveNetwork]) -> None:
        for network in networks:
            try:
                self.ensure(network)
            except CortenError as error:  # its parent may come later: a start looks again
                self._warnings.append(f"network {network.definition.name}: {error}")

    def ensure(self, network: ActiveNetwork) -> None:
        made = network.definition
        self._probe()
        if self._links.find(self.device(made)) is None:
            self._make_parent(made)

    def _probe(self) -> None:
        """A device without a parent cannot be made; the kernel says so only of kinds that it knows."""
        try:
            self._links.route.request(rtnetlink.stacked("probe", self.kind, 0, b"", 0, "", -1))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise self._unsupported() from error

    def _make_parent(self, made: Definition) -> None:
        """One that leads nowhere, or the VLAN that "eth0.10" names."""
        name = self.device(made)
        if _own_parent(made):
            self._make_dummy(name)
            return
        below, dot, number = name.rpartition(".")
        parent = self._links.find(below) if dot else None
        if parent is None:
            raise NotFound(f"parent {name} of network {made.name} does not exist on this host")
        if not _VLAN.match(number) or not 0 < int(number) < 4095:
            raise Invalid(f"parent {name} of network {made.name}: a VLAN's number is from 1 to 4094")
        self._make_link(rtnetlink.vlan(name, parent.ifindex, int(number)), name)

    def _make_dummy(self, name: str) -> None:
        """A dummy, or an ifb, which drops as well what no filter sent there. (A bridge without ports is down.)"""
        try:
            self._make_link(rtnetlink.plain(name, "dummy"), name)
        except Unsupported:
            self._make_link(rtnetlink.plain(name, "ifb"), name)

    def _make_link(self, request: Request, name: str) -> None:
        route = self._links.route
        try:
            route.request(request, rtnetlink.alias(name, self._links.alias))
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise Unsupported(f"cannot {request.name}: this kernel has no such devices") from error
            raise
        index = next(link.ifindex for link in rtnetlink.links(route) if link.name == name)
        no_ipv6 = [rtnetlink.no_link_local(index)] if self._links.has_ipv6 else []
        route.request(*no_ipv6, rtnetlink.up(index))

    async def remove(self, network: ActiveNetwork) -> None:
        link = self._links.marked(self.device(network.definition))
        if link is not None:
            await asyncio.to_thread(delete_all, [link.ifindex])

    # -------------------------------------------------------------------------------------------------- endpoints

    def attach(self, network: ActiveNetwork, endpoint: Endpoint, spec: InterfaceSpec, namespace: Namespace) -> Endpoint:
        made = network.definition
        if isinstance(namespace, GuestNamespace):
            raise Unsupported(f"a guest cannot be in a network of the driver {self.kind}")
        parent = self._parent(made)
        with Socket(fd=namespace.route) as inside:
            index = self._make_device(made, parent.ifindex, namespace.fd, inside, spec)
            try:
                inside.request(*self.inner(made, index, spec, self._links.has_ipv6))
            except BaseException:
                inside.request(rtnetlink.delete_link(index))
                raise
        return replace(endpoint, index=index, mac=self.mac_of(spec))

    def _parent(self, made: Definition) -> Link:
        parent = self._links.find(self.device(made))
        if parent is None:
            self._make_parent(made)
            parent = self._links.find(self.device(made))
        if parent is None:
            raise Failed(f"parent {self.device(made)} was made and is gone again")
        return parent

    def _make_device(self, made: Definition, parent: int, netns: int, inside: Socket, spec: InterfaceSpec) -> int:
        for _ in range(50):
            self._next = self._next + 1 if self._next < _INDEXES[1] else _INDEXES[0]
            try:
                self._links.route.request(self.message(made, parent, self._next, netns, spec))
            except OSError as error:
                if error.errno == errno.EBUSY and rtnetlink.link_name(inside, self._next) is not None:
                    continue
                if error.errno == errno.EEXIST and self._cleared(inside, spec.name):
                    continue
                raise self._refused(made, spec, error) from error
            return self._next
        raise Failed("no free device number was found in 50 tries")

    def message(self, made: Definition, parent: int, index: int, netns: int, spec: InterfaceSpec) -> Request:
        """The one that makes the device."""
        return rtnetlink.stacked(
            spec.name, self.kind, parent, self.kernel_mode(made), index, self.mac_of(spec), netns, spec.mtu
        )

    def inner(self, made: Definition, index: int, spec: InterfaceSpec, has_ipv6: bool) -> list[Request]:
        """Addresses and routes of a new device, in order."""
        link_local = any(i.version == 6 for i in spec.interfaces) and bool(self.mac_of(spec))
        return configured(index, spec, has_ipv6, link_local) + self.default_routes(made, index, spec.gateways)

    def detach(self, endpoint: Endpoint, release: Callable[[], None], namespace: Namespace | None) -> None:
        """Its addresses are free at once: the kernel takes the device out of its parent as the first thing."""
        if namespace is not None:
            with Socket(fd=namespace.route) as inside:
                _remove(inside, endpoint)
        release()

    def default_routes(self, definition: Definition, index: int, gateways: Sequence[IPAddress]) -> list[Request]:
        return [rtnetlink.route(index, gateway, replace=True) for gateway in gateways]

    def sources(self, definition: Definition, version: int) -> tuple[str, ...]:
        return (definition.name,) if _own_parent(definition) else (OUTSIDE, definition.name)

    # ------------------------------------------------------------------------------------------- what each one has

    @abstractmethod
    def kernel_mode(self, made: Definition) -> bytes:
        """IFLA_MACVLAN_MODE or IFLA_IPVLAN_MODE."""

    @abstractmethod
    def mac_of(self, spec: InterfaceSpec) -> str:
        """The MAC of a device; empty for the parent's."""

    def _cleared(self, inside: Socket, name: str) -> bool:
        """A device that a daemon made, and was killed before it recorded that, is in the way: remove it."""
        stray = next((link for link in rtnetlink.links(inside) if (link.name, link.kind) == (name, self.kind)), None)
        if stray is not None:
            inside.request(rtnetlink.delete_link(stray.ifindex))
        return stray is not None

    def _refused(self, made: Definition, spec: InterfaceSpec, error: OSError) -> Exception:
        if error.errno == errno.EEXIST:
            return Conflict(f"interface {spec.name} exists in the container already")
        if error.errno == errno.EOPNOTSUPP:
            return self._unsupported()
        if error.errno in (errno.EBUSY, errno.EINVAL):
            where = f"parent {self.device(made)} takes no {self.kind} in mode {self.mode(made)}"
            return Conflict(f"{where}: {error.strerror}")
        return error

    def _unsupported(self) -> Unsupported:
        return Unsupported(f"this kernel has no {self.kind} (CONFIG_{self.kind.upper()})")


def _remove(inside: Socket, endpoint: Endpoint) -> None:
    try:
        rate.receive(inside, endpoint.index, endpoint.interface, 0)
        inside.request(rtnetlink.delete_link(endpoint.index))
    except OSError as error:
        if error.errno != errno.ENODEV:  # the container, or a parent that is gone, removed it before
            raise


def _own_parent(made: Definition) -> bool:
    return not made.options.get(options.PARENT)
