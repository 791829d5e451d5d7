"""The rooms, put together. Nothing but constructors and what ties one room's callback to another's method."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from corten.aio.threads import alone
from corten.api.call import BuildKit
from corten.api.server import Api
from corten.build.cache.cache import Cache
from corten.build.work import recovery
from corten.daemon import cri, directories, registries, runtimes
from corten.daemon import facts as machine
from corten.daemon.config import Config
from corten.daemon.groups import HostGroups
from corten.daemon.late import Late
from corten.daemon.sweep import sweep
from corten.engine import cdi
from corten.engine.configuration import Configuration, Settings
from corten.engine.containers.containers import Containers
from corten.engine.containers.stores import Stores
from corten.engine.engine import Engine
from corten.engine.events import Events
from corten.engine.networks.networks import Networks
from corten.engine.secrets import Secrets
from corten.engine.volumes import Volumes
from corten.errors import Unavailable
from corten.guests import guests as guests_room
from corten.guests import host as guest_host
from corten.guests.guests import Guests
from corten.images import policy
from corten.images.images import Images
from corten.network import default_bridge
from corten.network.config import NetworkConfig
from corten.network.endpoint import Endpoint
from corten.network.ipam import DEFAULT_POOLS, parse_pool
from corten.plan.bundle import LogDefaults
from corten.plan.facts import HostFacts
from corten.plan.runtimes import names
from corten.plan.validate.logging import max_size
from corten.registry.client.registry import Registry
from corten.runtime import docker_init
from corten.sandbox.sandboxes import Sandboxes
from corten.snapshots.guest_disks import GuestDisks
from corten.snapshots.guest_images import GuestImages, ImageFiles
from corten.snapshots.inode_spread import InodeSpread
from corten.snapshots.overlay import Overlay
from corten.spec import seccomp
from corten.spec.json import Json
from corten.store.blobs import Blobs
from corten.store.database import Database
from corten.store.records import Records
from corten.tasks.cni import LauncherPlugins
from corten.tasks.disk_workers import LauncherDisks
from corten.tasks.holders import LauncherHolders
from corten.tasks.launcher import Launcher
from corten.tasks.long_lived import FORWARDER, LauncherProcess, name_server
from corten.tasks.machines import LauncherMachines
from corten.tasks.namespaces import LauncherNamespaces
from corten.tasks.supervisors import Supervisors
from corten.tasks.trees import launcher_trees
from corten.tasks.workers import LauncherWorkers
from corten.units.sizes import parse_bytes

if TYPE_CHECKING:
    from corten.build.builds import Builds
    from corten.build.history.history import History
    from corten.machines.machines import Machines
    from corten.snapshots.copying import Copying
    from corten.spec.cdi import Edits
    from corten.spec.dockerfile.run_devices import Device

log = logging.getLogger("cortend")
_LOOK_FOR_DEVICES = 10.0  # seconds
_BEHIND_ANSWERS = 2.0  # seconds at least for what goes on behind the last answers when the daemon ends


class Daemon:
    """The assembled engine behind its API."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        builds: Late[Builds],
        database: Database,
        networks: Networks,
        namespaces: LauncherNamespaces,
        registry: Registry,
        guests: Guests,
        buildkit: Callable[[], BuildKit],
        machines: Late[Machines],
    ) -> None:
        self.config = config
        self._guests = guests
        self.engine = engine
        self.builds = builds
        self.machines = machines
        self.api = Api(engine, builds, buildkit, machines=machines)
        self._database = database
        self._networks = networks
        self._namespaces = namespaces
        self._registry = registry

    async def open(self) -> None:
        """Take over what an earlier daemon left. Networks first: running containers hold addresses and ports."""
        await self._networks.setup()
        await self.engine.open()
        await self._restore_machines()
        await self._networks.reconcile()

    async def _restore_machines(self) -> None:
        if self.machines.made is not None:
            from corten.machines import restore

            await restore.restore(self.machines.made)

    async def close(self, patience: float) -> None:
        """Close client connections, complete what is under way, close the store. Containers go on running.

        What is not done after `patience` seconds is given up, as by a kill of this process: the next daemon goes on
        from what is on disk.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        await self.api.shutdown(patience)
        if self.builds.made is not None:
            await self.builds.made.close()
        if self.machines.made is not None:
            await self.machines.made.close(max(_BEHIND_ANSWERS, deadline - loop.time()))
        await self.engine.close(max(_BEHIND_ANSWERS, deadline - loop.time()))
        await self.engine.images.close()
        await self._guests.close()
        await self._networks.close()
        await self._namespaces.close()
        self._database.close()

    def configure(self, config: Config) -> None:
        """Go on with a configuration that differs in `config.RELOADED` only.

        Raises Invalid, and changes nothing, for a bad one.
        """
        self._registry.configure(registries.settings(config))
        self.config = config
        now = self.engine.configuration
        settings = _settings(config, now.facts, now.settings.warnings)
        known = names(settings.runtimes)
        now.replace(settings, replace(now.facts, runtimes=known, default_runtime=config.default_runtime))


async def assemble(config: Config, launcher: Launcher) -> Daemon:
    facts, warnings = machine.gather(config, docker_init.put(config.data_root))
    warnings = (*config.warnings, *warnings, *directories.exposed(config.data_root))
    database = Database(config.data_root / "corten.db")
    records = Records(database)
    events = Events()
    workers = LauncherWorkers(launcher)
    spread = InodeSpread(config.data_root / "places")
    image_files = ImageFiles(config.data_root / "vm" / "layers")
    trees = _trees(config, records, spread, image_files.remove)
    memory = directories.in_memory(config.exec_root)
    recovery.sweep(config.data_root / "build", memory, config.exec_root / "containers", trees.tree_store)
    sweep(config.data_root, config.exec_root, config.cgroup_parent, records, trees.tree_store)
    namespaces = LauncherNamespaces(launcher)
    runtime = Supervisors(launcher, config.exec_root / "containers", lambda *event: engine.on_task_event(*event))
    volumes = Volumes(config.data_root / "volumes", records, events, machine.root_owner(facts))
    network_config = default_bridge.chosen(_network_config(config), records)
    names = LauncherProcess(launcher, config.exec_root, name_server(network_config.resolv_conf))
    forwarder = LauncherProcess(launcher, config.exec_root, FORWARDER) if config.userland_proxy else None
    networks = Networks(
        records,
        network_config,
        events.publish,
        on_link_lost=lambda endpoint: _link_lost(endpoint, engine, late.made),
        on_resolver_lost=lambda: _names_lost(engine, late.made),
        names=names,
        forwarder=forwarder,
    )

    # Those that call the engine do so only once there is one.
    def users(image: str) -> list[tuple[str, bool]]:
        return [(container.id, container.record.state.running) for container in engine.containers.of_image(image)]

    def image_event(action: str, id: str, attributes: dict[str, str]) -> None:
        events.publish("image", action, id, attributes)

    blobs = Blobs(config.data_root / "content")
    registry = Registry(blobs, registries.settings(config))
    cache = Cache(records)
    images = Images(
        database,
        blobs,
        trees,
        workers,
        registry,
        users,
        on_event=image_event,
        on_pull=lambda: engine.on_pull(),
        kept=cache,
    )
    images.recover()
    image_files.sweep(trees.tree_store.keys(committed=True))
    guest_disks = GuestDisks(config.data_root / "vm" / "disks", workers.make_disk)
    guest_disks.sweep()
    guests = Guests(config.data_root / "vm", LauncherMachines(launcher), _guests(config))
    containers = Containers(
        Configuration(_settings(config, facts, warnings), facts),
        records,
        events,
        Stores(
            config.data_root / "containers",
            images,
            trees,
            GuestImages(image_files, trees, workers.make_image),
            guest_disks,
            volumes,
            Secrets(records, events, config.data_root, config.secrets_key_file),
            workers.copy_up,
            workers.make_directory,
            spread.mkdir,
            guests,
        ),
        networks,
        runtime,
        namespaces,
        Sandboxes(namespaces, LauncherHolders(launcher.for_pods, config.exec_root / "sandboxes")),
        HostGroups(),
        seccomp_profile(config.seccomp_profile),
    )
    engine = Engine(containers, launcher_trees(launcher), guests, LauncherPlugins(launcher.for_pods))

    async def step_devices(wanted: Sequence[Device]) -> tuple[Sequence[Edits], Sequence[str]]:
        asked = [(device.name, device.required) for device in wanted]
        try:
            return await alone(
                lambda: cdi.edits_of_step(containers.configuration.settings.cdi_spec_dirs, asked), _LOOK_FOR_DEVICES
            )
        except TimeoutError:
            raise Unavailable("a directory of CDI files is on a file system that does not answer") from None

    containers.watching.spawn(runtime.try_again(), "supervisors that could not be reached, and leftovers")

    def history() -> History:
        from corten.build.history.history import History  # loaded with the first build

        return History(records, config.data_root / "build" / "history")

    def builds() -> Builds:
        from corten.build.builds import Builds
        from corten.build.cache import policy as build_policy
        from corten.build.cache.pruner import Pruner
        from corten.build.contexts import Contexts
        from corten.build.shared import Shared
        from corten.build.trees import GIT, LOCAL, Trees
        from corten.build.work.rooms import Rooms
        from corten.build.work.work import Work
        from corten.tasks.steps import LauncherSteps

        collecting = build_policy.parse(config.builder)

        def kept_trees(name: str, type: str) -> Trees:
            root = config.data_root / "build" / name
            return Trees(root, lambda: collecting.most(_disk(config.data_root)), type, spread.mkdir)

        kept, repositories = kept_trees("trees", LOCAL), kept_trees("repositories", GIT)
        place, unpacking = config.data_root / "build" / "contexts", LauncherWorkers(launcher.for_builds)
        contexts = Contexts(place, unpacking, spread.mkdir, kept)
        work = Work(
            Rooms(
                root=config.data_root / "build",
                memory=memory,
                store=images.store,
                trees=trees,
                runtime=runtime,
                namespaces=namespaces,
                networks=networks,
                steps=LauncherSteps(launcher.for_builds),
                seed=workers.copy_up,
                unpack=workers.unpack,
                facts=lambda: containers.configuration.facts,
                seccomp=lambda profile, capabilities: containers.seccomp(profile, capabilities, ""),
                cgroup_parent=config.cgroup_parent,
                devices=step_devices,
            ),
            contexts,
            lambda: registry.proxies,
            repositories,
        )
        pruner = Pruner(images.store, cache, work.caches, (kept, repositories), collecting)
        builds = Builds(Shared(images, cache, contexts, work), kept, pruner, history, events.publish)
        builds.recover()
        return builds

    def machines() -> Machines:
        from corten.machines.disks import Disks
        from corten.machines.images import MachineImages
        from corten.machines.machines import Machines, Settings, servers_of
        from corten.tasks.machine_tasks import MachineSupervisors

        workers = LauncherDisks(launcher, guest_host.qemu)
        oci = MachineImages(images, trees, workers)
        return Machines(
            Settings(
                config.data_root / "machines",
                config.cgroup_parent or "/corten",
                lambda: servers_of(network_config.resolv_conf),
            ),
            records,
            events,
            volumes,
            Disks(volumes, workers.convert, oci.fill),
            oci,
            networks,
            namespaces,
            guests,
            lambda on_event: MachineSupervisors(launcher, config.exec_root / "machines", on_event),
        )

    def buildkit() -> BuildKit:
        from corten.buildkit.faces import Faces  # a daemon that has no such client does not carry it

        return Faces(made())

    made = Late(builds)
    if any(config.data_root.glob("build/*")):
        made()  # there is something to be taken up
    late = Late(machines)
    if records.list("machine") or any(config.data_root.glob("machines/*")) or volumes.has_disks():
        late()  # there is something to be taken up
    daemon = Daemon(config, engine, made, database, networks, namespaces, registry, guests, Late(buildkit), late)
    await daemon.open()
    return daemon


def _trees(config: Config, records: Records, spread: InodeSpread, removed: Callable[[str], None]) -> Overlay | Copying:
    root = config.data_root / "snapshots"
    if config.storage_driver not in ("copy", "vfs"):
        return Overlay(root, records, spread.mkdir, removed)
    from corten.snapshots.copying import Copying  # most daemons never need it

    return Copying(root, records, spread.mkdir, removed)


def _guests(config: Config) -> guests_room.Settings:
    return guests_room.Settings(config.vm_kernel, parse_bytes(config.vm_memory), config.vm_template)


def _network_config(config: Config) -> NetworkConfig:
    pools = tuple(parse_pool(pool["base"], int(pool["size"])) for pool in config.default_address_pools)
    return NetworkConfig(
        bridge=config.bridge,
        bip=config.bip,
        fixed_cidr=config.fixed_cidr,
        fixed_cidr6=config.fixed_cidr_v6,
        default_gateway=config.default_gateway,
        default_gateway6=config.default_gateway_v6,
        host_gateway=config.host_gateway_ip,
        default_options=config.default_network_opts,
        cluster=cri.cluster(config.cri),
        mtu=config.mtu,
        ipv6=config.ipv6,
        icc=config.icc,
        masquerade=config.ip_masq,
        host_ip=config.ip,
        dns=config.dns,
        dns_search=config.dns_search,
        dns_options=config.dns_opts,
        pools=pools or DEFAULT_POOLS,
        tag=config.bridge if config.bridge != "none" else _tag(config.data_root),
        owner=_owner(config.data_root),
    )


def _owner(root: Path) -> str:
    """What tells this daemon from others until the machine is booted again: the data root, whatever it is called."""
    status = os.stat(root)
    return f"{status.st_dev:x}.{status.st_ino:x}"


def _tag(root: Path) -> str:
    """A short name that distinguishes a daemon without a bridge of its own."""
    return hashlib.sha256(str(root).encode()).hexdigest()[:6]


def _disk(root: Path) -> int:
    """Bytes of the file system."""
    found = os.statvfs(root)
    return found.f_blocks * found.f_frsize


def _settings(config: Config, facts: HostFacts, warnings: tuple[str, ...]) -> Settings:
    return Settings(
        data_root=config.data_root,
        exec_root=config.exec_root,
        driver="vfs" if config.storage_driver in ("copy", "vfs") else "overlay2",
        labels=config.labels,
        debug=config.debug,
        cgroup_parent=config.cgroup_parent,
        log_defaults=log_defaults(config),
        insecure_registries=config.insecure_registries,
        registry_mirrors=config.registry_mirrors,
        image_gc=policy.parse(config.image_gc),
        proxies=registries.proxies(config).shown(),
        security_options=(
            "name=seccomp,profile=builtin",
            *(("name=userns",) if facts.uid_map else ()),
            "name=cgroupns",
        ),
        runtimes=runtimes.located(config.runtimes),
        cdi_spec_dirs=tuple(filter(None, config.cdi_spec_dirs)),
        warnings=warnings,
        address_pools=tuple((str(pool["base"]), int(pool["size"])) for pool in config.default_address_pools),
        min_api_version=config.min_api_version,
        **_cni(config),
    )


def _cni(config: Config) -> dict[str, Any]:
    """Where plugins of pods' networks are, and whether they are to collect, where it is said."""
    found: dict[str, Any] = {"cni_gc": bool(config.cri.get("cni-gc"))}
    if directory := config.cri.get("cni-conf-dir"):
        found["cni_config"] = directory
    if directories := config.cri.get("cni-bin-dir"):
        found["cni_plugins"] = tuple(directories.split(":"))
    return found


def log_defaults(config: Config) -> LogDefaults:
    """Of json-file: the daemon's options belong to its own driver, and containers of that one have them recorded."""
    options = config.log_opts if config.log_driver == "json-file" else {}
    size = max_size(options["max-size"]) if "max-size" in options else 50 << 20
    return LogDefaults(size, int(options.get("max-file", "3")))


def seccomp_profile(path: str) -> Callable[[str, Collection[str], str], Json | None]:
    """What containers get that bring no profile of their own ("") is the one in the file `path`, none at all when that
    is "unconfined", or Docker's. A container's own is the text of a profile, or "builtin" for Docker's. The third word
    is the machine whose system calls are meant, "" for this one."""
    here, kernel = os.uname().machine, os.uname().release
    own = "" if path in ("", "builtin", "unconfined") else Path(path).read_text()

    @lru_cache(maxsize=64)
    def resolved(text: str, capabilities: frozenset[str], machine: str) -> Json | None:
        if not text:
            return seccomp.default(capabilities, machine, kernel)
        return seccomp.resolve(msgspec.json.decode(text), capabilities, machine, kernel)

    def chosen(profile: str, capabilities: Collection[str], machine: str) -> Json | None:
        if not profile and path == "unconfined":
            return None
        text = "" if profile == "builtin" else profile or own
        return resolved(text, frozenset(capabilities), machine or here)

    return chosen


def _link_lost(endpoint: Endpoint, engine: Engine, machines: Machines | None) -> None:
    engine.on_link_lost(endpoint)
    if machines is not None and (machine := machines.by_id.get(endpoint.container_id)) is not None:
        from corten.machines import interfaces

        interfaces.lost(machines, machine)


def _names_lost(engine: Engine, machines: Machines | None) -> None:
    engine.on_resolver_lost()
    if machines is not None:
        from corten.machines import names

        names.lost(machines)
