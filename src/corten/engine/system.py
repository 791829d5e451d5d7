"""What the daemon says of itself and its machine: version, info, disk usage."""

from __future__ import annotations

import asyncio
import os
import platform
import threading
from collections import Counter

from corten import __version__
from corten.aio.threads import to_walk_thread
from corten.engine import machine as machine_of
from corten.engine import programs
from corten.engine.configuration import Configuration
from corten.engine.containers.containers import Containers
from corten.engine.containers.list import summaries
from corten.engine.containers.sizes import sizes
from corten.engine.containers.stats import total_memory
from corten.engine.events import Events
from corten.engine.networks.networks import Networks
from corten.engine.volumes import Volumes
from corten.errors import Invalid
from corten.guests.guests import Guests
from corten.images.images import Images
from corten.plan import runtimes
from corten.spec.docker import times
from corten.spec.json import Json

API_VERSION, MIN_API_VERSION = "1.50", "1.24"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class System:
    def __init__(
        self,
        configuration: Configuration,
        containers: Containers,
        images: Images,
        volumes: Volumes,
        networks: Networks,
        events: Events,
        guests: Guests,
    ) -> None:
        self._configuration = configuration
        self._containers = containers
        self._images = images
        self._volumes = volumes
        self._networks = networks
        self._events = events
        self._guests = guests
        self._id = _identity()
        self.checking = asyncio.Lock()  # one `system check` at a time

    def version(self) -> Json:
        """GET /version."""
        machine, kernel = os.uname().machine, os.uname().release
        details = {
            "ApiVersion": API_VERSION,
            "Arch": _ARCHITECTURES.get(machine, machine),
            "BuildTime": machine_of.installed(),
            "Experimental": "false",
            "GitCommit": machine_of.commit(),
            "GoVersion": _NO_GO,
            "KernelVersion": kernel,
            "MinAPIVersion": self._configuration.settings.min_api_version,
            "Os": "linux",
            "PythonVersion": platform.python_version(),
        }
        return {
            "Platform": {"Name": "Corten"},
            "Components": [{"Name": "Engine", "Version": __version__, "Details": details}],
            "Version": __version__,
            "ApiVersion": API_VERSION,
            "MinAPIVersion": self._configuration.settings.min_api_version,
            "GitCommit": details["GitCommit"],
            "GoVersion": _NO_GO,
            "Os": "linux",
            "Arch": details["Arch"],
            "KernelVersion": kernel,
            "BuildTime": details["BuildTime"],
        }

    async def info(self) -> Json:
        """GET /info."""
        settings, facts = self._configuration.settings, self._configuration.facts
        images, accelerator, *versions = await asyncio.gather(
            asyncio.to_thread(self._images.list),
            self._guests.accelerator(),
            self._runtime_version(),
            self._init_version(),
        )
        pools = [{"Base": base, "Size": size} for base, size in settings.address_pools]
        return {
            "ID": self._id,
            **self._counts(),
            "Images": len(images),
            "Driver": settings.driver,
            "DriverStatus": [["Backing Filesystem", machine_of.file_system(settings.data_root)]],
            "Plugins": {
                "Volume": ["local"],
                "Network": list(self._networks.driver_names),
                "Authorization": None,
                "Log": ["json-file", "local", "none"],
            },
            **_controls(facts.controls),
            "Debug": settings.debug,
            "NFd": len(os.listdir("/proc/self/fd")),
            "NGoroutines": len(asyncio.all_tasks()) + threading.active_count(),
            "NEventsListener": len(self._events),
            "SystemTime": times.rfc3339(times.now()),
            "LoggingDriver": facts.default_log_driver,
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": str(facts.cgroup_version),
            **_machine(),
            "DockerRootDir": str(settings.data_root),
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": self._registries(),
            "GenericResources": None,
            **dict(zip(("HttpProxy", "HttpsProxy", "NoProxy"), settings.proxies)),
            "Labels": list(settings.labels),
            "ExperimentalBuild": False,
            "ServerVersion": __version__,
            "Runtimes": runtimes.shown(settings.runtimes),
            "DefaultRuntime": facts.default_runtime,
            "Swarm": _NO_SWARM,
            "LiveRestoreEnabled": True,
            "Isolation": "",
            "InitBinary": facts.init_path.rpartition("/")[2],
            "ContainerdCommit": _NOT_THERE,
            **dict(zip(("RuncCommit", "InitCommit"), map(_commit, versions))),
            "SecurityOptions": list(settings.security_options),
            "CDISpecDirs": list(settings.cdi_spec_dirs),
            "Guests": {"Accelerator": accelerator.name, "Reason": accelerator.reason, "Hint": accelerator.hint},
            **({"DefaultAddressPools": pools} if pools else {}),
            "Warnings": [*settings.warnings, *self._networks.warnings] or None,
        }

    async def _runtime_version(self) -> str:
        """Of the default runtime, as dockerd."""
        try:
            found = runtimes.find(self._configuration.facts.default_runtime, self._configuration.settings.runtimes)
        except Invalid:  # it is configured, and not there
            return ""
        return await programs.version(found.path) if found.external else _OURS

    async def _init_version(self) -> str:
        facts = self._configuration.facts
        return _OURS if facts.own_init else await programs.version(facts.init_path)

    def _counts(self) -> Json:
        states = [container.status for container in self._containers.by_id.values()]
        running, paused = states.count("running") + states.count("restarting"), states.count("paused")
        return {
            "Containers": len(states),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(states) - running - paused,
        }

    def _registries(self) -> Json:
        settings = self._configuration.settings
        hub = {"Name": "docker.io", "Mirrors": list(settings.registry_mirrors), "Secure": True, "Official": True}
        others = {
            name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False}
            for name in settings.insecure_registries
            if "/" not in name
        }
        return {
            "AllowNondistributableArtifactsCIDRs": [],
            "AllowNondistributableArtifactsHostnames": [],
            "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8", *(n for n in settings.insecure_registries if "/" in n)],
            "IndexConfigs": {"docker.io": hub, **others},
            "Mirrors": list(settings.registry_mirrors),
        }

    async def disk_usage(self, types: frozenset[str]) -> Json:
        """GET /system/df without the build cache; `types` of container, image, volume, or none for all. Walks the
        disk."""
        every = not types
        shown: Json = {"LayersSize": 0, "Images": None, "Containers": None, "Volumes": None, "BuildCache": None}
        if every or "image" in types:
            shown["LayersSize"], shown["Images"] = await self._image_usage()
        if every or "container" in types:
            row, containers = summaries(self._containers), list(self._containers.by_id.values())
            containers.sort(key=lambda container: -container.record.created)
            sized = [(container, await sizes(self._containers.stores, container)) for container in containers]
            shown["Containers"] = [row(c) | found for c, found in sized if not c.gone]
        if every or "volume" in types:
            counted = [await to_walk_thread(self._volumes.shown, volume, True) for volume in self._volumes.list()]
            there = {volume.name for volume in self._volumes.list()}
            shown["Volumes"] = [volume for volume in counted if volume["Name"] in there]
        return shown

    async def _image_usage(self) -> tuple[int, list[Json]]:
        """LayersSize, with what guests have of layers, and the images."""
        rows = await asyncio.to_thread(self._images.list, None, True, True)
        users = Counter(container.record.image_id for container in self._containers.by_id.values())
        files, trees = self._containers.stores.guest_images.files, self._containers.stores.snapshots.tree_store
        size = self._images.layers_size() + await to_walk_thread(files.size, trees.keys(committed=True))
        return size, [{**row, "Containers": users[row["Id"]]} for row in rows]


_NO_GO = f"none (Python {platform.python_version()})"
_NOT_THERE = {"ID": "N/A", "Expected": "N/A"}  # dockerd's words for a version that it does not know
_OURS = f"corten {__version__}"

_NO_SWARM: Json = {
    "NodeID": "",
    "NodeAddr": "",
    "LocalNodeState": "inactive",
    "ControlAvailable": False,
    "Error": "",
    "RemoteManagers": None,
}


def _commit(version: str) -> Json:
    return {"ID": version, "Expected": version} if version else _NOT_THERE


def _controls(controls: frozenset[str]) -> Json:
    cfs = "cpu_cfs" in controls
    return {
        "MemoryLimit": "memory" in controls,
        "SwapLimit": "swap" in controls,
        "KernelMemoryTCP": False,
        "CpuCfsPeriod": cfs,
        "CpuCfsQuota": cfs,
        "CPUShares": "cpu_shares" in controls,
        "CPUSet": "cpuset" in controls,
        "PidsLimit": "pids" in controls,
        "OomKillDisable": "oom_kill_disable" in controls,
        "IPv4Forwarding": _switch("/proc/sys/net/ipv4/ip_forward"),
        "BridgeNfIptables": _switch("/proc/sys/net/bridge/bridge-nf-call-iptables"),
        "BridgeNfIp6tables": _switch("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
    }


def _switch(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def _machine() -> Json:
    names = _os_release()
    host = os.uname()
    return {
        "KernelVersion": host.release,
        "OperatingSystem": names.get("PRETTY_NAME", "Linux"),
        "OSVersion": names.get("VERSION_ID", ""),
        "OSType": "linux",
        "Architecture": host.machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": total_memory(),
        "Name": host.nodename,
    }


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _identity() -> str:
    """The same for one machine as long as it lives; "" where systemd never made an id."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
