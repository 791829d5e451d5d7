"""Networks: Docker's noun, over the parts of the network room.

A network is a stored `Definition`; what is in the kernel (bridges, one nftables table) is derived from the definitions
and from the endpoints that are connected, and can be made again from them at any time.

    networks = Networks(table, NetworkConfig(bridge="corten0"), events.publish)
    await networks.setup()                  # at the daemon's start
    await networks.adopt(record, id)        # for every container that kept running meanwhile
    await networks.reconcile()              # sweeps what belongs to nobody
    endpoint = await networks.connect("bridge", id, namespace, {}, {"80/tcp": [{}]}, [], False, ["web"])
    await networks.disconnect(endpoint)     # idempotent
"""

from __future__ import annotations

import asyncio
import builtins
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from corten.engine import network_predefined as predefined
from corten.engine.network_filters import LIST_FILTERS, PRUNE_FILTERS, matches
from corten.engine.network_known import Known, fresh
from corten.errors import Conflict, CortenError, Forbidden, NotFound
from corten.network import audit, files, rate, subnets
from corten.network import definition as define
from corten.network.addresses import Wanted, wanted
from corten.network.config import NetworkConfig
from corten.network.definition import Definition
from corten.network.endpoint import Endpoint
from corten.network.firewall import Published
from corten.network.live import Live, lease_of, published, rank
from corten.network.naming import NameServer, Naming, Sockets, prepared
from corten.network.ports import PortMap, Reservations, Wish, matching, report, wishes
from corten.network.upkeep import Upkeep
from corten.network.wiring import Wiring, lead
from corten.spec.docker import times
from corten.spec.docker.filters import Filters
from corten.spec.docker.networking import EndpointSettings, NetworkCreate
from corten.spec.json import Json
from corten.store.table import Table
from corten.tasks.contract import Namespace

Publish = Callable[[str, str, str, Mapping[str, str]], None]  # events: type, action, id, attributes


class Networks:
    """`warnings` and `changes` (sysctls that were set on this host) are for `info`."""

    def __init__(
        self, records: Table, config: NetworkConfig, notify_event: Publish, names: NameServer | None = None
    ) -> None:
        self.config = config
        self._notify = notify_event
        self._known = Known(records, config.has_default)
        self._reservations = Reservations(config.host_ip)
        self._wiring = Wiring(config.label)
        self._naming = Naming(names, self._known.everything)
        self._preparing: asyncio.Task[None] | None = None
        self._upkeep: Upkeep | None = None
        self.on_lost: Callable[[Endpoint], None] | None = None  # its pair is gone, and nobody disconnected it
        self.warnings = self._wiring.warnings
        self.changes = self._wiring.changes

    # ------------------------------------------------------------------------------------------------- lifecycle

    async def setup(self) -> None:
        """At the daemon's start: records, default bridge, devices, firewall, ip_forward. Leaves running traffic alone.

        Conflict when another daemon uses the same bridge; Failed, Unsupported when the machine cannot do it.
        """
        self._known.load()
        predefined.simple(self._known)
        with subnets.alone():
            predefined.default(self._known, self.config, self._wiring.bridges.route)
            listing = self._wiring.bridges.present()
            for live in self._known.bridged():
                self._wiring.ensure(live, now=False, listing=listing)
        await self._naming.open()
        if self._known.with_names():
            self._prepare_names()
        for live in self._known.stacked():
            try:
                self._wiring.ensure(live)
            except CortenError as error:  # its parent may come later: a start looks again
                self.warnings.append(f"network {live.definition.name}: {error}")

    async def reconcile(self) -> None:
        """After the last `adopt`: sweep what belongs to nobody. The first `connect` does it when nobody did."""
        known = {live.definition.device for live in self._known.wired()}
        known |= {e.host_interface for live in self._known.values() for e in live.endpoints.values()}
        await self._wiring.reconcile(known)
        self._naming.tell_all()
        if self._upkeep is None:
            self._upkeep = Upkeep(self._wiring, self._known.bridged, self._tell_lost)
            self._upkeep.start()
        self._upkeep.rejoin()  # those of a bridge that was gone at setup

    def _tell_lost(self, endpoint: Endpoint) -> None:
        if self.on_lost is not None:
            self.on_lost(endpoint)

    async def settle(self) -> None:
        """Everything that was disconnected is really gone when this returns."""
        await self._wiring.reaper.settle()

    async def close(self) -> None:
        """At the daemon's end. What connected containers need stays; without any, nothing stays."""
        if self._upkeep is not None:
            self._upkeep.close()
            self._upkeep = None
        if self._preparing is not None:
            await self._preparing
        self._naming.close()
        await self.settle()
        for live in self._known.values():
            for endpoint in live.endpoints.values():
                self._reservations.release(published(endpoint))
        wired = self._known.wired()
        if not any(live.endpoints for live in wired):
            await self._wiring.purge(live.definition.device for live in wired)
        self._wiring.close()

    # ------------------------------------------------------------------------------------------------- endpoints

    async def connect(
        self,
        network: str,
        container_id: str,
        namespace: Namespace,
        settings: EndpointSettings,
        port_bindings: PortMap,
        exposed: Sequence[str],
        publish_all: bool,
        names: Sequence[str],
        index: int = 0,
    ) -> Endpoint:
        """Put a container into a network. Nothing is left when it fails.

        `settings` is Docker's EndpointSettings; `names` are what it is called, its name first; `index` numbers its
        interfaces. NotFound, Invalid, Forbidden (connected already, address in use), Exhausted, Failed (port in use).
        """
        live = self._known.usable(network)
        name = names[0] if names else container_id[:12]
        if container_id in live.of:
            raise Forbidden(f"endpoint with name {name} already exists in network {live.definition.name}")
        if live.definition.driver in ("host", "null"):
            return self._remember(live, live.bare(container_id, name, settings))
        if not self._wiring.reconciled:
            await self.reconcile()
        wish = wanted(live.definition, settings)
        if live.occupied(wish):  # a container that restarts asks for what its last run is about to give back
            await self.settle()
        wants = (
            [] if live.definition.internal or live.definition.stacked else wishes(port_bindings, exposed, publish_all)
        )
        with ExitStack() as undo:
            lease = live.addresses.lease(wish)
            undo.callback(live.addresses.release, lease)
            prefix = self._wiring.bridges.prefix
            endpoint = live.endpoint(lease, wish, container_id, names, settings, index, prefix)
            endpoint = replace(endpoint, ports=report(exposed, self._publish(live, endpoint, wants, undo)))
            endpoint = self._plug(live, endpoint, wish, namespace)
            undo.callback(self._wiring.unplug, endpoint, lambda: None)
            await self._wiring.turn(published(endpoint))
            undo.pop_all()
        return self._remember(live, endpoint)

    def _publish(
        self, live: Live, endpoint: Endpoint, wants: Sequence[Wish], undo: ExitStack
    ) -> builtins.list[Published]:
        if not wants:
            return []
        taken = self._reservations.take(wants, live.target(endpoint), live.host_binding)
        undo.callback(self._reservations.release, taken)
        self._wiring.publish(taken)
        undo.callback(self._wiring.firewall.unpublish, taken)
        return taken

    async def republish(self, container_id: str, adds: PortMap, removes: PortMap, exposed: Sequence[str]) -> Endpoint:
        """Publish other ports of a connected container; both are PortMaps, `removes` goes first. All or nothing.

        NotFound for what is not published, Conflict without a network that can publish, Failed (port in use).
        Connections through a port that is taken away go on until their end.
        """
        live, endpoint = self._publisher(container_id)
        before = published(endpoint)
        gone = matching(before, removes)
        with ExitStack() as undo:
            self._unpublish(gone)
            undo.callback(self._publish_again, gone, endpoint.container_name)
            taken = self._publish(live, endpoint, wishes(adds, (), False), undo)
            await self._wiring.turn(taken)
            undo.pop_all()
        kept = [one for one in before if one not in gone]
        changed = replace(endpoint, ports=report(exposed, [*kept, *taken]))
        self._wiring.bridges.hairpin(endpoint.ifindex)
        live.add(changed)
        return changed

    def _publisher(self, container_id: str) -> tuple[Live, Endpoint]:
        """The network that publishes a container's ports, or could."""
        able = [
            (n, e) for n, e in self._known.connected(container_id) if e.host_interface and not n.definition.internal
        ]
        if not able:
            raise Conflict(f"container {container_id} has no network that can publish ports")
        return next((pair for pair in able if any(pair[1].ports.values())), able[0])

    def _unpublish(self, ports: Sequence[Published]) -> None:
        if ports:
            self._wiring.firewall.unpublish(ports)
            self._reservations.release(ports)

    def _publish_again(self, ports: Sequence[Published], owner: str) -> None:
        self.warnings += [f"container {owner}: {text}" for text in self._reservations.retake(ports, owner)]
        self._wiring.publish(ports)

    def _plug(self, live: Live, endpoint: Endpoint, wish: Wanted, namespace: Namespace) -> Endpoint:
        best = self._leader(endpoint.container_id)
        plug = live.plug(endpoint, wish, best is None or rank(endpoint) < rank(best))
        index = self._wiring.plug(live, endpoint, plug, namespace.fd, namespace.route)
        return replace(endpoint, ifindex=index)

    def lacks_device(self, endpoint: Endpoint) -> bool:
        """It is connected, and the pair that it was connected by is gone."""
        live = self._known.get(endpoint.network_id)
        wanted = live is not None and endpoint.endpoint_id in live.endpoints and endpoint.host_interface
        return bool(wanted) and not self._wiring.bridges.alive(endpoint.ifindex, endpoint.host_interface)

    def reconnect(self, endpoint: Endpoint, namespace: Namespace) -> Endpoint:
        """Another pair for an endpoint that lacks one; everything else of it stays. NotFound when it is gone."""
        live = self._known.get(endpoint.network_id)
        known = live.endpoints.get(endpoint.endpoint_id) if live is not None else None
        if live is None or known is None:
            raise NotFound(f"container {endpoint.container_id} is not in network {endpoint.network_name} any more")
        leads = self._leader(known.container_id)
        plug = live.plug(known, wanted(live.definition, known.settings_in), leads is known)
        index = self._wiring.plug(live, known, plug, namespace.fd, namespace.route)
        changed = replace(known, ifindex=index)
        live.add(changed)
        return changed

    def _remember(self, live: Live, endpoint: Endpoint) -> Endpoint:
        self._add(live, endpoint)
        self._naming.set_open(endpoint.container_id, self._known.has_way_out(endpoint.container_id))
        self._event("connect", live.definition, endpoint.container_id)
        return endpoint

    def _leader(self, container_id: str) -> Endpoint | None:
        """The endpoint that gives a container its default route."""
        routed = [e for e in self.of_container(container_id) if e.gateway or e.gateway6]
        return min(routed, key=rank, default=None)

    def shape(self, container_id: str, limits: str, namespace: Namespace) -> None:
        """Limit the rate of all of a container's devices, see `network.rate`. Invalid, Unsupported."""
        wish = rate.parse(limits)
        self._wiring.shape(self.of_container(container_id), wish, namespace.route)

    async def disconnect(self, endpoint: Endpoint, namespace: Namespace | None = None) -> None:
        """Take an endpoint away. Idempotent. Ports are free at once; the device may take a moment (see `settle`).

        With `namespace` the container goes on without this network: the device is gone when this returns, and the
        default route leads through the best network that is left.
        """
        live = self._known.get(endpoint.network_id)
        if live is None or not live.drop(endpoint.endpoint_id):
            return
        self._unpublish(published(endpoint))
        self._naming.drop(live, endpoint)
        if not self.of_container(endpoint.container_id):
            self._naming.end(endpoint.container_id)
        else:
            self._naming.set_open(endpoint.container_id, self._known.has_way_out(endpoint.container_id))
        if endpoint.host_interface:
            addresses, lease = live.addresses, lease_of(endpoint)
            self._wiring.unplug(endpoint, lambda: addresses.release(lease))
        elif endpoint.interface:
            if namespace is not None:
                self._wiring.unstack(endpoint, namespace.route)
            live.addresses.release(lease_of(endpoint))
        self._event("disconnect", live.definition, endpoint.container_id)
        if namespace is not None:
            await self._wiring.reaper.finish(endpoint.host_interface)
            best = self._leader(endpoint.container_id)
            if best is not None:
                lead(self._known[best.network_id].definition, best, namespace.route)

    async def adopt(self, record: Json | Endpoint, container_id: str) -> Endpoint:
        """The endpoint of a run that outlived an earlier daemon: its addresses and ports are in use again.

        A port that somebody took meanwhile is a warning: the rule stands, the container goes on. NotFound when the
        network is gone.
        """
        endpoint = record if isinstance(record, Endpoint) else Endpoint.from_json(record)
        live = self._known.get(endpoint.network_id)
        if live is None:
            raise NotFound(f"network {endpoint.network_name} of container {container_id} is gone")
        if endpoint.endpoint_id in live.endpoints:
            return endpoint
        live.addresses.adopt(endpoint)
        self._add(live, endpoint)
        ports = published(endpoint)
        complaints = self._reservations.retake(ports, endpoint.container_name)
        self.warnings += [f"container {endpoint.container_name}: {complaint}" for complaint in complaints]
        if ports:
            self._wiring.firewall.expect(ports)
            if self._wiring.reconciled:
                self._wiring.firewall.replace()
        return endpoint

    def wants_names(self, container_id: str) -> bool:
        """It is in a user-defined network and has no name server yet: time for `serve_names`."""
        user = any(not live.definition.predefined for live, _ in self._known.connected(container_id))
        return user and self._naming.available and container_id not in self._naming

    async def serve_names(self, container_id: str, sockets: Sockets, servers: Sequence[str] = ()) -> None:
        """Start the name server at 127.0.0.11 of a container; `servers` are what --dns gave it.

        It goes on without the daemon, and ends with the container's last endpoint.
        """
        own = servers or self.config.dns
        await self._naming.serve(container_id, sockets, own, self._known.has_way_out(container_id))

    def on_unnamed(self, call: Callable[[], None]) -> None:
        """Call this when the name server has died, and every container wants another."""
        self._naming.on_unnamed = call

    def _prepare_names(self) -> None:
        """What the first container of a user-defined network needs, before it starts."""
        if self._naming.available and self._preparing is None:
            self._preparing = asyncio.ensure_future(prepared(self._naming))

    def _add(self, live: Live, endpoint: Endpoint) -> None:
        live.add(endpoint)
        if not live.definition.predefined:
            self._naming.put(live, endpoint)

    def of_container(self, container_id: str) -> builtins.list[Endpoint]:
        return [endpoint for _, endpoint in self._known.connected(container_id)]

    def named_endpoints(self, container_id: str) -> builtins.list[tuple[str, Endpoint]]:
        """A container's endpoints as they are now, each with its network's name."""
        return [(endpoint.network_name, endpoint) for endpoint in self.of_container(container_id)]

    def rename(self, container_id: str, name: str) -> None:
        """A container has another name now: network inspect shows it."""
        for live, endpoint in self._known.connected(container_id):
            names = [name if n == endpoint.container_name else n for n in endpoint.dns_names]
            self._add(live, replace(endpoint, container_name=name, dns_names=names))

    def validate(self, network: str, settings: EndpointSettings) -> Definition:
        """At create, before anything is connected: the network is there and could give what is asked. Invalid."""
        found = self._known.usable(network).definition
        wanted(found, settings)
        return found

    # ------------------------------------------------------------------------------------------------ API's noun

    def find(self, reference: str) -> Live:
        """By id, name, or the start of an id, in this order. NotFound; Invalid when the start fits several.

        "default" is the default bridge, or none where the daemon has no default bridge.
        """
        return self._known.find(reference)

    def list(self, filters: Filters | None = None) -> builtins.list[Json]:
        """Docker's list: without the containers. Invalid for a filter that Docker does not know."""
        chosen = filters or Filters()
        chosen.check(LIST_FILTERS)
        return [n.definition.wire({}) for n in self._known.values() if matches(n, chosen)]

    def inspect(self, reference: str, verbose: bool = False, scope: str = "") -> Json:
        live = self.find(reference)
        if scope not in ("", "local"):
            raise NotFound(f"network {reference} not found")
        shown = live.definition.wire({e.container_id: e.attached for e in live.endpoints.values()})
        return {**shown, "Services": {}} if verbose else shown

    async def create(self, request: NetworkCreate) -> Json:
        """POST /networks/create. Conflict for a name in use, Forbidden for a subnet in use, and see `from_request`."""
        wish = define.from_request(
            request, secrets.token_hex(32), times.rfc3339(times.now()), self._known.configuration
        )
        if self._known.named(wish.name) is not None:
            raise Conflict(f"network with name {wish.name} already exists")
        if wish.config_only:
            self._known.store(fresh(wish))
            self._event("create", wish)
            return {"Id": wish.id, "Warning": ""}
        if any(live.definition.device == wish.device for live in self._known.wired()):
            raise Forbidden(f"network with device {wish.device} exists already: a device belongs to one network")
        with subnets.alone():
            made = replace(wish, ranges=predefined.ranges(self._known, wish, self.config, self._wiring.bridges.route))
            live = fresh(made)
            try:
                self._wiring.ensure(live)
                self._known.store(live)
            except BaseException:
                await self._wiring.dismantle(live)
                raise
        self._prepare_names()
        self._event("create", made)
        return {"Id": made.id, "Warning": ""}

    async def remove(self, reference: str) -> None:
        """DELETE /networks/ID. Forbidden for a predefined network and while containers are connected."""
        live = self.find(reference)
        made = live.definition
        if made.predefined:
            raise Forbidden(f"{made.name} is a pre-defined network and cannot be removed")
        if live.endpoints:
            rows = ", ".join(f'name:"{e.container_name}" id:"{e.endpoint_id[:12]}"' for e in live.endpoints.values())
            raise Forbidden(f"error while removing network: network {made.name} has active endpoints ({rows})")
        if made.config_only and any(n.definition.config_from == made.name for n in self._known.values()):
            raise Forbidden(f'configuration network "{made.name}" is in use')
        self._known.forget(live)
        await self._wiring.dismantle(live)
        self._event("destroy", made)

    async def prune(self, filters: Filters | None = None) -> Json:
        """POST /networks/prune: what nobody is connected to, but the predefined ones."""
        chosen = filters or Filters()
        chosen.check(PRUNE_FILTERS)
        until = chosen.one("until")
        limit = times.parse_time(until) if until is not None else None
        every = (n.definition for n in self._known.values() if not n.endpoints)
        unused = [made for made in every if not made.predefined and not made.config_only]
        deleted = []
        for made in unused:
            young = limit is not None and times.parse_time(made.created) > limit
            labelled = chosen.match_labels("label", made.labels) and not chosen.excludes_labels("label!", made.labels)
            if labelled and not young:
                await self.remove(made.id)
                deleted.append(made.name)
        self._notify("network", "prune", "", {"reclaimed": "0"})
        return {"NetworksDeleted": deleted}

    def audit(self, reference: str = "") -> builtins.list[Json]:
        """What is reachable from where: {"Container", "Network", "Port", "Via", "From"} for every way there is.

        With `reference` only the ways to containers of that network. NotFound.
        """
        wanted = self.find(reference).definition.name if reference else ""
        ways = audit.ways(self._known.values(), self._wiring.obstacles())
        return [way.to_json() for way in ways if wanted in ("", way.network)]

    # ----------------------------------------------------------------------------------------------------- files

    @property
    def host_gateway(self) -> str:
        """What "host-gateway" in an extra host means: this host's address on the default bridge; empty without one."""
        live = self._known.named("bridge")
        return str(live.addresses.v4.gateway) if live is not None and live.addresses.v4 is not None else ""

    def hosts_file(
        self, endpoints: Sequence[Endpoint], hostname: str, domainname: str = "", extra: Iterable[str] = ()
    ) -> str:
        """/etc/hosts of a container; with the host's network the host's own text, and `extra`."""
        if self._on_host(endpoints):
            rows = [files.parse_extra_host(entry) for entry in extra]
            own = {"host-gateway": self.host_gateway or "127.0.0.1"}
            return self.config.hosts.read_text() + "".join(f"{own.get(a, a)}\t{n}\n" for n, a in rows)
        addresses = [a for e in endpoints for a in (e.address, e.address6)]
        return files.hosts(addresses, hostname, domainname, extra, self.host_gateway)

    def resolv_conf(
        self,
        endpoints: Sequence[Endpoint],
        servers: Sequence[str] = (),
        search: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> str:
        """/etc/resolv.conf of a container: our name server where it has one; on the host's network the host's text."""
        config = self.config
        servers, search = servers or config.dns, search or config.dns_search
        options = options or config.dns_options
        try:
            host = config.resolv_conf.read_text(errors="replace")
        except FileNotFoundError:
            host = ""
        if self._on_host(endpoints) and not (servers or search or options):
            return host
        embedded = any(e.container_id in self._naming for e in endpoints)
        return files.resolv_conf(host, servers, search, options, embedded)

    def _on_host(self, endpoints: Sequence[Endpoint]) -> bool:
        return any(self._known[e.network_id].definition.driver == "host" for e in endpoints)

    # --------------------------------------------------------------------------------------------------- private

    def _event(self, action: str, made: Definition, container: str = "") -> None:
        attributes = {"name": made.name, "type": made.driver}
        if container:
            attributes["container"] = container
        self._notify("network", action, made.id, attributes)
