"""A container's specification, taken apart for a guest: what moves in, what the host does, what is refused. Pure.

In a guest a container shares the guest's network, whose only interfaces are the container's; all other namespaces,
capabilities, masks, limits and filters are made there as they are here.

    feature                                      in a guest
    image, own layer                             disks, mounted by the agent; `rootfs` names places in the guest
    proc, sysfs, devpts, mqueue, tmpfs, cgroup   mounted in the guest
    files of the engine's own (hosts, names ...) their content is sent, and again when it changes; a guest's is bound
    binds, volumes, trees of images              mounted by the host, which shares them; a place in the share is bound
    process, users, seccomp, masks, sysctls      in the guest; AppArmor's profile is not: its kernel has none of ours
    memory, processors                           the machine has them (`memory_of`, `cpus_of`), and the guest's group
    network of the container                     the machine's interfaces, and sysctls of the guest
    namespaces of the host or of a container     refused
    devices of the host                          block devices are disks, see `guest.devices`; those that every kernel
                                                 has are the guest's own; others are refused
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from corten.errors import Unsupported

Json = dict[str, Any]

FILES, DISKS, SHARES = "/run/corten/files", "/run/corten/disks", "/run/corten/shares"  # in the guest
OVERHEAD = 64 << 20  # bytes that a guest's kernel and agent take beside its container
_UNIT = 2 << 20
OF_QEMU = 512 << 20  # bytes beside the guest's memory: translated code, devices, buffers; 130 MiB are usual
_INIT = "/sbin/docker-init"
_OWN_FILES = frozenset(("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", _INIT))
_PROPAGATIONS = frozenset(("private", "rprivate", "slave", "rslave"))
_IN_GUEST = frozenset(("proc", "sysfs", "devpts", "mqueue", "tmpfs", "cgroup", "cgroup2"))
_OF_ELSEWHERE = "the guest has a kernel of its own: it cannot share the {kind} namespace of {whose}"
# Devices that a kernel has without hardware (Documentation/admin-guide/devices.txt): memory, terminals, fuse, tun.
_EVERYWHERE = frozenset(((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (10, 229), (10, 200)))


class File(NamedTuple):
    """A file of the host whose content the guest gets at `path`. `changes`: while it runs."""

    source: str
    path: str
    changes: bool


class Plan(NamedTuple):
    """`shares`: mounts that the host makes, as the specification writes them; the guest finds the first as `SHARES`/0.
    `host`: resources of the machine's own group on the host. `sysctls`: of the guest's network, by name.
    `network`: where the host has the container's network namespace; "" for none. `score`: see `kernel.process`; it is
    the machine's as well as the program's."""

    spec: Json
    files: tuple[File, ...]
    shares: tuple[Json, ...]
    host: Json
    sysctls: dict[str, str]
    network: str
    score: int


def plan(spec: Json) -> Plan:
    """Unsupported with one sentence, for the first thing that a guest cannot have."""
    for reason in refusals(spec):
        raise Unsupported(reason)
    files: list[File] = []
    shares: list[Json] = []
    mounts = [_moved(mount, files, shares) for mount in spec.get("mounts") or ()]
    linux = dict(spec.get("linux") or {})
    linux["namespaces"] = [n for n in linux.get("namespaces") or () if n["type"] != "network"]
    sysctls = dict(linux.get("sysctl") or {})
    linux["sysctl"] = {name: value for name, value in sysctls.items() if not _of_network(name)}
    process = {key: value for key, value in (spec.get("process") or {}).items() if key != "apparmorProfile"}
    return Plan(
        {**spec, "process": process, "mounts": mounts, "linux": linux},
        tuple(files),
        tuple(shares),
        of_machine(linux.get("resources") or {}),
        {name: value for name, value in sysctls.items() if _of_network(name)},
        next((n.get("path") or "" for n in spec["linux"].get("namespaces") or () if n["type"] == "network"), ""),
        process.get("oomScoreAdj") or 0,
    )


def _of_network(name: str) -> bool:
    return name.replace("/", ".").startswith("net.")


def refusals(spec: Json) -> Iterator[str]:
    """Each a sentence for a user."""
    linux = spec.get("linux") or {}
    yield from _of_namespaces(linux.get("namespaces") or ())
    if linux.get("uidMappings") or linux.get("gidMappings"):
        yield "a guest is apart from the host already: user namespaces are not made in it"
    for mount in spec.get("mounts") or ():
        if reason := _of_mount(mount):
            yield reason
    for device in linux.get("devices") or ():
        if (device.get("major"), device.get("minor")) not in _EVERYWHERE:
            yield f"the guest has a kernel of its own: the host's device {device['path']} is not in it"
    if spec.get("hooks"):
        yield "hooks are programs of the host, and a guest has none of those"


def _of_namespaces(namespaces: Any) -> Iterator[str]:
    known = {namespace["type"]: namespace.get("path") or "" for namespace in namespaces}
    for kind in ("network", "pid", "ipc", "uts", "mount", "cgroup"):
        if kind not in known:
            yield _OF_ELSEWHERE.format(kind=kind, whose="the host")
        elif known[kind] and kind != "network":  # a container's network, which the engine has made, has a path
            yield _OF_ELSEWHERE.format(kind=kind, whose="another container")
    if "user" in known:
        yield "a guest is apart from the host already: user namespaces are not made in it"


def _is_bind(mount: Json) -> bool:
    return mount.get("type") == "bind" or bool({"bind", "rbind"} & {*(mount.get("options") or ())})


def _of_mount(mount: Json) -> str:
    target, options = mount["destination"], {*(mount.get("options") or ())}
    if options & {"shared", "rshared", "unbindable", "runbindable"}:
        return f"what a guest mounts stays in it: the propagation of {target} can only be private or slave"
    if not _is_bind(mount) and not _is_of_host(mount) and mount.get("type") not in _IN_GUEST:
        return f"a guest's kernel cannot mount {mount.get('type')} of the host: {target}"
    return ""


def _is_of_host(mount: Json) -> bool:
    """Whether it is what the runtime mounts as the host's root (`runtime.host_mounts`)."""
    return any(word.startswith("x-corten.") for word in mount.get("options") or ())


def _moved(mount: Json, files: list[File], shares: list[Json]) -> Json:
    if _is_bind(mount) and os.path.normpath(mount["destination"]) in _OWN_FILES and not _is_of_host(mount):
        path = f"{FILES}/{len(files)}"
        files.append(File(mount["source"], path, os.path.normpath(mount["destination"]) != _INIT))
        return {**mount, "source": path}
    if not _is_bind(mount) and not _is_of_host(mount):
        return mount
    path = f"{SHARES}/{len(shares)}"
    shares.append(mount)
    return {"destination": mount["destination"], "type": "bind", "source": path, "options": _words_of_bind(mount)}


def _words_of_bind(mount: Json) -> list[str]:
    """Those that hold in the guest. It follows what is mounted on the host by itself."""
    words = [*(mount.get("options") or ())]
    if not _is_bind(mount):
        return ["rbind", "rprivate", *(word for word in words if word == "ro")]
    return [word for word in words if word not in _PROPAGATIONS and not word.startswith("x-corten.")] + ["rprivate"]


def of_machine(resources: Json) -> Json:
    """The limits that hold for a machine as a whole: its share of processors. For its memory see `of_qemu`."""
    return {"cpu": resources["cpu"]} if resources.get("cpu") else {}


def of_qemu(memory: int) -> Json:
    """The limit that holds for a machine whose guest has so many bytes. A guest can touch memory of its device for more
    that it was not given (QEMU protects none of it), and this is what keeps it from that."""
    return {"memory": {"limit": memory + OF_QEMU}}


def memory_of(limit: int) -> int:
    """Bytes that a guest has to have for a container with that limit."""
    return -(-(limit + OVERHEAD) // _UNIT) * _UNIT


def cpus_of(resources: Json) -> int:
    """Processors for a share of processors, 0 when there is no limit."""
    cpu = resources.get("cpu") or {}
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 100_000
    return -(-quota // period) if quota > 0 else 0
