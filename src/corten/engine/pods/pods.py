"""Pods: a sandbox with a network, and containers in it.

    pods = Pods(containers)
    await pods.restore()                               # at the daemon's start, before networks are reconciled
    pod = await pods.run(config, handler)              # ready: its namespaces are there, and no process
    await pods.stop(pod); await pods.remove(pod)       # both are idempotent

A pod's namespaces are kept by its holder (`corten.supervisor.holder`), alive before, between and after containers. Its
record is written when all of it is there, so that a pod is whole or absent: what a daemon that was killed in between
has left, a holder without a record and an endpoint that is not adopted, is taken away by the next one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from corten.aio.threads import alone
from corten.engine.containers import remove as container_remove
from corten.engine.containers import stop as container_stop
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.pods import cni, handlers, records
from corten.engine.pods.cni import Cni
from corten.engine.pods.records import NETWORK, Attached, Network, Record
from corten.errors import Conflict, CortenError, Invalid, NotFound, NotModified, Unavailable, Unsupported
from corten.kernel import paths
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import EndpointRequest
from corten.network.options import HAIRPIN
from corten.plan import pods as plan
from corten.plan.pod_texts import check_texts
from corten.plan.validate.text import check_line, check_word
from corten.spec.docker import times
from corten.spec.docker.host_config import PortBinding
from corten.spec.docker.networking import EndpointSettings
from corten.spec.id_map import IdRange
from corten.spec.protobuf import cri
from corten.tasks.contract import IdMap, Namespace, Plugins, Shared

log = logging.getLogger(__name__)
_LOOK = 10.0  # seconds
_AGAIN, _AGAIN_AT_MOST = 1.0, 60.0  # seconds
_MOST = 256  # characters of a name, a namespace, an id
_HOSTNAME = 64  # of sethostname(2)


class Pod:
    """One pod. `lock` is held while it changes, and while a container is made in it; reading never takes it."""

    __slots__ = ("endpoint", "gone", "lock", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.lock = asyncio.Lock()
        self.endpoint: Endpoint | None = None
        self.gone = False

    @property
    def id(self) -> str:
        return self.record.id


class Pods:
    def __init__(self, containers: Containers, plugins: Plugins | None = None) -> None:
        self.containers = containers
        self._plugins = plugins
        self._unplugging: asyncio.Task[None] | None = None
        self._collecting: asyncio.Task[None] | None = None
        self.by_id: dict[str, Pod] = {}
        self._names: dict[str, str] = {}  # id by name, also of those that are being made

    # ------------------------------------------------------------------------------------------------------- reading

    def get(self, reference: str) -> Pod:
        """By id, or the start of one. Raises NotFound, Invalid."""
        if (found := self.by_id.get(reference)) is not None:
            return found
        matches = [pod for id, pod in self.by_id.items() if reference and id.startswith(reference)]
        if len(matches) > 1:
            raise Invalid(f"multiple IDs found with provided prefix: {reference}")
        if not matches:
            raise NotFound(f"No such pod: {reference}")
        return matches[0]

    def members(self, pod: Pod) -> list[Container]:
        return [each for each in self.every_member() if each.record.pod and each.record.pod.pod == pod.id]

    def every_member(self) -> Iterator[Container]:
        """Containers of pods."""
        return (each for each in list(self.containers.by_id.values()) if each.record.pod is not None)

    # ----------------------------------------------------------------------------------------------------------- run

    async def run(self, config: cri.PodSandboxConfig, handler: str = "") -> Pod:
        """A new pod, ready. Conflict when there is one of this name, Invalid, Unsupported, Unavailable, Failed."""
        _check(config)
        in_guest = await handlers.check(self.containers, handler, config)
        uids, gids = plan.pod_ids(config)
        plan.sysctls(config)
        assert config.metadata is not None
        config = replace(config, hostname=_hostname(config))
        record = Record(secrets.token_hex(32), times.now(), config, handler, in_guest)
        if (other := self._names.get(record.name)) is not None:
            raise Conflict(f"the pod name {record.name} is reserved for {other}")
        self._names[record.name] = record.id
        pod = Pod(record)
        try:
            async with AsyncExitStack() as undo, AsyncExitStack() as opened:
                await _make_directory(config.log_directory)
                maps = IdMap(_lines(uids), _lines(gids)) if uids else None
                if maps is not None:  # its network is the user namespace's, which the holder makes
                    namespace = await self._hold(pod, maps, None, undo)
                    opened.callback(namespace.close)
                    await self._attach(pod, namespace, undo)
                else:
                    namespace = await self.containers.sandboxes.new()
                    opened.callback(namespace.close)
                    await _both(self._hold(pod, None, namespace, undo), self._attach(pod, namespace, undo))
                records.save(self.containers.table, record)
                undo.pop_all()
        except BaseException:
            del self._names[record.name]
            self._unplug_lost()
            raise
        self.by_id[record.id] = pod
        self._watch(pod)
        self._publish(pod, "start")
        return pod

    async def _attach(self, pod: Pod, namespace: Namespace, undo: AsyncExitStack) -> None:
        network = None if pod.record.on_host else self.network()
        if network is not None:
            cni.check(network, pod.record.config)
            undo.push_async_callback(self._unplug, pod.record)
            await self._plug(pod.record, network, namespace)
        elif not pod.record.on_host:
            await self._connect(pod, namespace, undo)

    async def _hold(self, pod: Pod, maps: IdMap | None, network: Namespace | None, undo: AsyncExitStack) -> Namespace:
        options, hostname = plan.pod_namespaces(pod.record.config), pod.record.config.hostname
        kinds = [] if options.ipc == cri.NamespaceMode.NODE else ["ipc"]
        if not pod.record.on_host:
            kinds.append("uts")
        if options.pid == cri.NamespaceMode.POD:
            kinds.append("pid")
        size = self.containers.configuration.facts.default_shm_size
        undo.push_async_callback(self.containers.sandboxes.release, pod.id)
        return await self.containers.sandboxes.hold(pod.id, maps, Shared(tuple(kinds), hostname, size), network)

    async def _connect(self, pod: Pod, namespace: Namespace, undo: AsyncExitStack) -> None:
        record = pod.record
        request = EndpointRequest(
            NETWORK,
            pod.id,
            namespace,
            EndpointSettings(driver_opts={HAIRPIN: "true"}),  # a service's address may lead to the pod that asks
            names=[record.config.hostname],
            port_bindings=_bindings(record.config),
            exposed=list(_bindings(record.config)),
        )
        endpoint = pod.endpoint = await self.containers.networks.connect(request, quiet=True)
        undo.push_async_callback(self.containers.networks.disconnect, endpoint, None, True)
        record.endpoints = {NETWORK: endpoint.record}
        record.addresses = [address for address in (endpoint.address, endpoint.address6) if address]

    # ------------------------------------------------------------------------------------------------------- plugins

    def network(self) -> Network | None:
        """By plugins, where this host has a configuration for them; None for our own. Invalid, Unavailable for one that
        cannot be used."""
        found = cni.configured(self.containers.configuration.settings.cni_config)
        if found is not None:
            self._cni().check(found)
        return found

    async def ready_network(self) -> Network | None:
        """`network`, when its plugins say that they can connect pods now. Unavailable otherwise."""
        if (found := self.network()) is not None:
            await self._cni().status(found)
        return found

    def _cni(self) -> Cni:
        if self._plugins is None:
            raise Unsupported("this engine runs no CNI plugins")
        return Cni(self._plugins, self.containers.configuration.settings.cni_plugins)

    async def _plug(self, record: Record, network: Network, namespace: Namespace) -> None:
        """Noted before it is done: what is noted is undone, also by a later daemon."""
        await asyncio.wait([self._begin_to_collect()])
        attached = Attached(record, network)
        records.save_network(self.containers.table, attached)
        result = await self._cni().add(record, network, namespace.fd)
        attached.result, record.addresses = result, cni.addresses(result)
        records.save_network(self.containers.table, attached)

    async def _unplug(self, record: Record) -> None:
        """Raises Failed, Unavailable when a plugin does not do its part: it is to be tried again."""
        attached = records.network_of(self.containers.table, record.id)
        if attached is None:
            return
        try:
            namespace = await self.containers.sandboxes.open(record.id) if self._is_held(record.id) else None
        except NotFound:
            namespace = None
        try:
            fd = namespace.fd if namespace is not None else -1
            await self._cni().delete(record, attached.network, attached.result, fd)
        finally:
            if namespace is not None:
                namespace.close()
        records.forget_network(self.containers.table, record.id)

    def _is_held(self, id: str) -> bool:
        return id in self.containers.sandboxes.held()

    def _lost_networks(self) -> list[Attached]:
        """Of pods that are not there, nor about to be."""
        known = set(self._names.values())
        return [each for each in records.networks(self.containers.table) if each.pod.id not in known]

    def _unplug_lost(self) -> None:
        """What plugins have not undone is tried again until they have, behind the answer."""
        if self._lost_networks() and (self._unplugging is None or self._unplugging.done()):
            work = self._unplug_until_done()
            self._unplugging = self.containers.watching.spawn(work, "networks of pods that are gone")

    async def _unplug_until_done(self) -> None:
        delay = _AGAIN
        while lost := self._lost_networks():
            for attached in lost:
                try:
                    await self._unplug(attached.pod)
                except (CortenError, OSError) as error:
                    log.warning("the network of pod %s, which is gone, is left for now: %s", attached.pod.id, error)
            if self._lost_networks():
                await asyncio.sleep(delay)
                delay = min(2 * delay, _AGAIN_AT_MOST)

    def _begin_to_collect(self) -> asyncio.Task[None]:
        """Once, before the first pod is added: GC takes what is not among its valid attachments for gone."""
        if self._collecting is None:
            self._collecting = self.containers.watching.spawn(self._collect(), "networks of unknown pods")
        return self._collecting

    async def _collect(self) -> None:
        """What plugins have of pods that this daemon does not know goes: those of a data root that was lost. On a host
        with another runtime these are its pods as well, so it has to be asked for."""
        if not self.containers.configuration.settings.cni_gc:
            return
        try:
            if (found := self.network()) is not None:
                noted = [each.pod.id for each in records.networks(self.containers.table)]
                await self._cni().collect(found, noted)
        except CortenError as error:
            log.warning("networks of pods that are unknown are left: %s", error)

    # ---------------------------------------------------------------------------------------------------------- stop

    async def stop(self, pod: Pod) -> None:
        """End its containers and give its network back. Idempotent; what an earlier call left undone is done."""
        async with pod.lock:
            await self._stop(pod)

    async def _stop(self, pod: Pod) -> None:
        if pod.gone:
            return
        async with asyncio.TaskGroup() as group:
            for container in self.members(pod):
                group.create_task(self._end(container))
        if pod.endpoint is not None:
            await self.containers.networks.disconnect(pod.endpoint, None, True)
            pod.endpoint = None
        await self._unplug(pod.record)
        await self.containers.sandboxes.release(pod.id)
        if pod.record.state != "stopped":
            pod.record.state, pod.record.endpoints = "stopped", {}
            records.save(self.containers.table, pod.record)
            self._publish(pod, "stop")

    async def _end(self, container: Container) -> None:
        try:
            await container_stop.stop(self.containers, container, 0, "KILL")
        except (NotModified, Conflict):  # it has ended meanwhile
            return

    async def remove(self, pod: Pod) -> None:
        """Its containers, and it. Idempotent."""
        async with pod.lock:
            if pod.gone:
                return
            await self._stop(pod)
            for container in self.members(pod):
                try:
                    await container_remove.remove(self.containers, container, force=True, volumes=True)
                except NotFound:
                    continue
            records.forget(self.containers.table, pod.id)
            pod.gone = True
            self.by_id.pop(pod.id, None)
            self._names.pop(pod.record.name, None)
            self._publish(pod, "destroy")

    # ------------------------------------------------------------------------------------------------------- restore

    async def restore(self) -> None:
        """What an earlier daemon had: pods whose holder has ended are stopped, holders without a pod are ended."""
        found, broken = records.load(self.containers.table)
        for error in broken:
            log.error("%s", error)
        for record in found:
            self.by_id[record.id] = pod = Pod(record)
            self._names[record.name] = record.id
            if record.state == "ready":
                try:
                    await self._adopt(pod)
                    self._watch(pod)
                except CortenError as error:
                    log.warning("pod %s is lost: %s", record.id, error)
                    await self._lost(pod)
        for id in self.containers.sandboxes.held() - self.by_id.keys():
            await self._release(id)
        self._unplug_lost()
        self._begin_to_collect()

    async def _adopt(self, pod: Pod) -> None:
        if pod.id not in self.containers.sandboxes.held():
            raise NotFound(f"the holder of pod {pod.id} has ended")
        (await self.containers.sandboxes.open(pod.id)).close()
        for endpoint in pod.record.endpoints.values():
            pod.endpoint = await self.containers.networks.adopt(endpoint, pod.id)

    def _watch(self, pod: Pod) -> None:
        self.containers.watching.spawn(self._watched(pod), f"the watch on pod {pod.id}")

    async def _watched(self, pod: Pod) -> None:
        """A pod whose holder was killed is not ready any more: no container of it can be started."""
        await self.containers.sandboxes.ended(pod.id)
        async with pod.lock:
            if pod.gone or pod.record.state != "ready":
                return
            log.warning("pod %s is lost: its holder has ended", pod.id)
            await self._lost(pod)
            self._publish(pod, "stop")

    async def _lost(self, pod: Pod) -> None:
        """Its containers, if there are any, are ended when the kubelet stops it."""
        if pod.endpoint is not None:
            await self.containers.networks.disconnect(pod.endpoint, None, True)
            pod.endpoint = None
        await self._release(pod.id)
        pod.record.state, pod.record.endpoints = "stopped", {}
        records.save(self.containers.table, pod.record)

    async def _release(self, id: str) -> None:
        try:
            await self.containers.sandboxes.release(id)
        except Unavailable as error:
            log.warning("sandbox %s is left: %s", id, error)

    def _publish(self, pod: Pod, action: str) -> None:
        attributes = {"name": pod.record.metadata.name, "namespace": pod.record.metadata.namespace}
        self.containers.events.publish("pod", action, pod.id, attributes)


def _check(config: cri.PodSandboxConfig) -> None:
    """Raises Invalid."""
    metadata = config.metadata
    if metadata is None or not metadata.name:
        raise Invalid("a pod needs metadata with a name")
    check_texts(config)
    for noun, text in (("name", metadata.name), ("namespace", metadata.namespace), ("uid", metadata.uid)):
        check_line(f"{noun} of a pod", text)
        if len(text) > _MOST or ";" in text:  # which would begin another of a plugin's arguments
            raise Invalid(f"invalid {noun} of a pod: {text[:_MOST]!r}")
    check_word("host name of a pod", config.hostname, _HOSTNAME)
    plan.check_namespaces(plan.pod_namespaces(config))
    for port in config.port_mappings:
        if not 0 <= port.host_port < 65536 or not 0 < port.container_port < 65536:
            raise Invalid(f"invalid port mapping {port.host_port}:{port.container_port}")
        if port.protocol not in tuple(cri.Protocol):
            raise Invalid(f"unknown protocol {port.protocol} of a port mapping")
    if config.log_directory and not _plain(config.log_directory):
        raise Invalid(f"the log directory {config.log_directory} is not an absolute path without ..")


async def _both(holding: Awaitable[Namespace], attaching: Awaitable[None]) -> None:
    """Side by side: each may take most of a pod's start. What both did is known before one's error is raised."""
    both = asyncio.gather(holding, attaching, return_exceptions=True)
    try:
        await asyncio.shield(both)
    finally:  # also when this is cancelled
        held, attached = await both
        if isinstance(held, Namespace):
            held.close()
    for each in (held, attached):
        if isinstance(each, BaseException):
            raise each


def _plain(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/") and "\0" not in path


def _hostname(config: cri.PodSandboxConfig) -> str:
    options = plan.pod_namespaces(config)
    if options.network == cri.NamespaceMode.NODE:
        return os.uname().nodename
    assert config.metadata is not None
    return config.hostname or config.metadata.name[:_HOSTNAME]


def _bindings(config: cri.PodSandboxConfig) -> dict[str, list[PortBinding]]:
    """Docker's PortBindings of the ports that have one of the host's."""
    found: dict[str, list[PortBinding]] = {}
    for port in config.port_mappings:
        if port.host_port:
            key = f"{port.container_port}/{cri.Protocol(port.protocol).name.lower()}"
            found.setdefault(key, []).append(PortBinding(host_ip=port.host_ip, host_port=str(port.host_port)))
    return found


def _lines(ranges: list[IdRange]) -> str:
    return "".join(f"{each.container} {each.host} {each.size}\n" for each in ranges)


async def _make_directory(path: str) -> None:
    """Where logs of containers will be. Raises Invalid, Unavailable."""

    def make() -> None:
        try:
            paths.make_public(Path(path))
        except OSError as error:
            raise Invalid(f"cannot make the log directory {path}: {os.strerror(error.errno or 0).lower()}") from error

    if path:
        try:
            await alone(make, _LOOK)
        except TimeoutError:
            raise Unavailable(f"the log directory {path} is on a file system that does not answer") from None
