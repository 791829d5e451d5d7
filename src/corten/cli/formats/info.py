"""The page of `info`."""

from __future__ import annotations

from corten.units.sizes import bytes_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.client.api import Json


def page(client: Json, server: Json | None) -> str:
    lines = [
        "Client:",
        f" Version:    {client['Version']}",
        f" Context:    {client['Context']}",
        f" Debug Mode: {_truth(client['Debug'])}",
        "",
        "Server:",
    ]
    return "\n".join(lines if server is None else [*lines, *_server(server), ""])


def _truth(value: Any) -> str:
    return "true" if value else "false"


def _server(info: Json) -> list[str]:
    lines = [
        f" Containers: {info.get('Containers', 0)}",
        f"  Running: {info.get('ContainersRunning', 0)}",
        f"  Paused: {info.get('ContainersPaused', 0)}",
        f"  Stopped: {info.get('ContainersStopped', 0)}",
        f" Images: {info.get('Images', 0)}",
        *_given(info, {"ServerVersion": "Server Version", "Driver": "Storage Driver"}),
    ]
    lines += [f"  {name}: {value}" for name, value in info.get("DriverStatus") or ()]
    names = {"LoggingDriver": "Logging Driver", "CgroupDriver": "Cgroup Driver", "CgroupVersion": "Cgroup Version"}
    lines += _given(info, names)
    lines += _plugins(info)
    lines += _swarm(info)
    lines += _runtimes(info)
    lines += _guests(info)
    lines += _security(info)
    return lines + _machine(info) + _daemon(info)


def _given(info: Json, names: dict[str, str]) -> list[str]:
    """A line for each field that is not empty."""
    return [f" {title}: {info[field]}" for field, title in names.items() if info.get(field)]


def _plugins(info: Json) -> list[str]:
    plugins = info.get("Plugins") or {}
    lines = [" Plugins:"]
    lines += [f"  {kind}: {' '.join(plugins.get(kind) or ())}" for kind in ("Volume", "Network")]
    lines += [f"  {kind}: {' '.join(plugins[kind])}" for kind in ("Authorization", "Log") if plugins.get(kind)]
    if directories := info.get("CDISpecDirs"):
        lines += [" CDI spec directories:", *(f"  {directory}" for directory in directories)]
    return lines


def _guests(info: Json) -> list[str]:
    """A daemon of another maker has none."""
    if not (guests := info.get("Guests")):
        return []
    accelerator = "emulation" if guests.get("Accelerator") == "tcg" else guests.get("Accelerator", "")
    lines = [f" Guests: {accelerator} ({guests.get('Reason', '')})"]
    return [*lines, f"  {guests['Hint']}"] if guests.get("Hint") else lines


def _swarm(info: Json) -> list[str]:
    state = (info.get("Swarm") or {}).get("LocalNodeState")
    return [f" Swarm: {state}"] if state else []


def _runtimes(info: Json) -> list[str]:
    lines = []
    if runtimes := info.get("Runtimes"):
        lines += [f" Runtimes: {' '.join(sorted(runtimes))}", f" Default Runtime: {info.get('DefaultRuntime', '')}"]
    lines.append(f" Init Binary: {info.get('InitBinary', '')}")
    for field, title in (("ContainerdCommit", "containerd"), ("RuncCommit", "runc"), ("InitCommit", "init")):
        if info.get(field) is not None:
            lines.append(f" {title} version: {info[field].get('ID', '')}")
    return lines


def _security(info: Json) -> list[str]:
    """ "name=seccomp,profile=builtin" is a name with its properties below."""
    options = info.get("SecurityOptions") or []
    lines = [" Security Options:"] if options else []
    for option in options:
        for pair in option.split(","):
            key, _, value = pair.partition("=")
            lines.append(f"  {value}" if key == "name" else f"   {key.capitalize()}: {value}")
    return lines


def _machine(info: Json) -> list[str]:
    names = {
        "KernelVersion": "Kernel Version",
        "OperatingSystem": "Operating System",
        "OSType": "OSType",
        "Architecture": "Architecture",
    }
    lines = _given(info, names)
    lines.append(f" CPUs: {info.get('NCPU', 0)}")
    lines.append(f" Total Memory: {bytes_size(info.get('MemTotal', 0))}")
    return lines + _given(info, {"Name": "Name", "ID": "ID", "DockerRootDir": "Docker Root Dir"})


def _daemon(info: Json) -> list[str]:
    lines = [f" Debug Mode: {_truth(info.get('Debug'))}"]
    if info.get("Debug"):
        lines += [f"  File Descriptors: {info.get('NFd', 0)}", f"  Goroutines: {info.get('NGoroutines', 0)}"]
        lines += [
            f"  System Time: {info.get('SystemTime', '')}",
            f"  EventsListeners: {info.get('NEventsListener', 0)}",
        ]
    lines += _given(info, {"HttpProxy": "HTTP Proxy", "HttpsProxy": "HTTPS Proxy", "NoProxy": "No Proxy"})
    if labels := info.get("Labels"):
        lines += [" Labels:", *(f"  {label}" for label in labels)]
    lines.append(f" Experimental: {_truth(info.get('ExperimentalBuild'))}")
    registry = info.get("RegistryConfig") or {}
    lines += _insecure(registry)
    if mirrors := registry.get("Mirrors"):
        lines += [" Registry Mirrors:", *(f"  {mirror}" for mirror in mirrors)]
    lines.append(f" Live Restore Enabled: {_truth(info.get('LiveRestoreEnabled'))}")
    if product := info.get("ProductLicense"):
        lines.append(f" Product License: {product}")
    if pools := info.get("DefaultAddressPools"):
        lines.append(" Default Address Pools:")
        lines += [f"   Base: {pool['Base']}, Size: {pool['Size']}" for pool in pools]
    return lines


def _insecure(registry: Json) -> list[str]:
    hosts = [name for name, one in (registry.get("IndexConfigs") or {}).items() if not one.get("Secure", True)]
    networks = registry.get("InsecureRegistryCIDRs") or []
    return [" Insecure Registries:", *(f"  {one}" for one in [*hosts, *networks])] if hosts or networks else []
