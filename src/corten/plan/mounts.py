"""OCI's `mounts`, in the order they are made: Docker's defaults, then the user's by depth.

Every read-only decision for a mount is taken here; the runtime only does what the options say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from corten.errors import Invalid
from corten.plan.facts import HostFacts, MountPoint, SpecInputs
from corten.plan.namespaces import cgroup_namespace, remapped
from corten.plan.paths import clean
from corten.plan.process import INIT_IN_CONTAINER, runs_init
from corten.plan.security import parse_security_options
from corten.plan.tmpfs import merge_options
from corten.spec.json import Json
from corten.spec.mounts import Mount

_NEVER_READ_ONLY = frozenset({"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"})

#: (destination, type, source, options), in mount order
_DEFAULTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    ("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("ro", "nosuid", "noexec", "nodev")),
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777")),
)


def mounts(inputs: SpecInputs, facts: HostFacts) -> list[Json]:
    """All mounts of a container but its root."""
    asked = _asked(inputs, facts)
    taken = {mount["destination"] for mount in asked}
    result = [m for m in _defaults(inputs, facts) if not _replaced(m["destination"], taken)]
    if inputs.host_config.readonly_rootfs:
        _make_read_only(result)
    if runs_init(inputs.host_config, facts):
        if not facts.init_path:
            raise Invalid("this daemon has no init binary: run without --init or set init-path")
        result.append(_bind(facts.init_path, INIT_IN_CONTAINER, ["bind", "exec", "ro"]))  # it may lie in a noexec mount
    return result + asked


def root_propagation(points: Iterable[MountPoint]) -> str:
    """linux.rootfsPropagation that these binds need; "" for the runtime's default."""
    kinds = {point.propagation for point in points if point.type == "bind"}
    if kinds & {"shared", "rshared"}:
        return "shared"
    return "rslave" if kinds & {"slave", "rslave"} else ""


def _asked(inputs: SpecInputs, facts: HostFacts) -> list[Json]:
    """The user's mounts and the engine's files, parents before children."""
    host = inputs.host_config
    result = [
        _mounted(point, mount) if (mount := inputs.mounted.get(point.destination)) else _point(point, facts)
        for point in inputs.mounts
    ]
    result += [_tmpfs(path, options) for path, options in (host.tmpfs or {}).items()]
    taken = {mount["destination"] for mount in result}
    mode = ["ro"] if host.readonly_rootfs else []
    for destination, source in inputs.files.items():
        if destination not in taken:
            result.append(_bind(source, destination, ["rbind", *mode, "rprivate"]))
    shm = "/dev/shm" if host.ipc_mode == "host" else inputs.shm_path
    if shm is not None and "/dev/shm" not in taken:
        result.append(_bind(shm, "/dev/shm", ["rbind", "rprivate"]))
    result.sort(key=lambda mount: _depth(mount["destination"]))
    return result


def _defaults(inputs: SpecInputs, facts: HostFacts) -> Iterable[Json]:
    host = inputs.host_config
    privileged = host.privileged
    own = cgroup_namespace(host, facts) == "private" and remapped(host, facts)
    writable_cgroups = own or parse_security_options(host.security_opt).writable_cgroups
    for destination, kind, source, defaults in _DEFAULTS:
        options = list(defaults)
        if destination == "/dev/shm":
            if host.ipc_mode == "none":
                continue
            options.append(f"size={host.shm_size or facts.default_shm_size}")
        elif destination == "/dev/mqueue" and host.ipc_mode == "host" and remapped(host, facts):
            # a user namespace may not mount the queues of an ipc namespace that it does not own
            yield _bind("/dev/mqueue", "/dev/mqueue", ["rbind", "rprivate"])
            continue
        elif kind in ("sysfs", "cgroup") and (privileged or (kind == "cgroup" and writable_cgroups)):
            options.remove("ro")
        yield {"destination": destination, "type": kind, "source": source, "options": options}


def _replaced(destination: str, taken: set[str]) -> bool:
    """True when the user mounts there, or over the whole of /dev."""
    return destination in taken or (destination.startswith("/dev/") and "/dev" in taken)


def _make_read_only(defaults: list[Json]) -> None:
    for mount in defaults:
        if mount["destination"] not in _NEVER_READ_ONLY and "ro" not in mount["options"]:
            mount["options"].append("ro")


def _point(point: MountPoint, facts: HostFacts) -> Json:
    if point.type == "tmpfs":
        return _tmpfs(point.destination, point.options)
    options = ["rbind" if point.recursive else "bind"]
    if not point.rw:
        options.append(_read_only(point, facts))
    if point.propagation:
        options.append(point.propagation)
    if point.idmapped:
        options.append("idmap")
    return _bind(point.source, point.destination, options)


def _mounted(point: MountPoint, mount: Mount) -> Json:
    mode = [] if point.rw else ["ro"]
    return {**mount.entry(), "destination": point.destination, "options": [*mount.options, *mode]}


def _read_only(point: MountPoint, facts: HostFacts) -> str:
    """ "rro" also holds for what is mounted below the source; before Linux 5.12 there is only "ro"."""
    if point.rro == "required" and not facts.recursive_readonly:
        raise Invalid(f"mount {point.destination}: this kernel cannot make a mount recursively read-only")
    return "rro" if point.recursive and point.rro != "no" and facts.recursive_readonly else "ro"


def _tmpfs(destination: str, options: str) -> Json:
    words = merge_options(["noexec", "nosuid", "nodev", "rprivate", *filter(None, options.split(","))])
    return {"destination": clean(destination), "type": "tmpfs", "source": "tmpfs", "options": words}


def _bind(source: str, destination: str, options: list[str]) -> Json:
    return {"destination": destination, "type": "bind", "source": source, "options": options}


def _depth(destination: str) -> int:
    return destination.rstrip("/").count("/")


def bundle_files(bundle: str) -> Mapping[str, str]:
    """The three files that the engine keeps for a container, by their place inside."""
    return {f"/etc/{name}": f"{bundle}/{name}" for name in ("resolv.conf", "hostname", "hosts")}
