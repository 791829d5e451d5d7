"""The pure part: what an OCI configuration asks for, put in the order and the shapes that the executors need."""

from __future__ import annotations

import posixpath
from typing import Any, NamedTuple

from corten.kernel import mount as m
from corten.kernel import process as p
from corten.runtime import mountplan, sysctls
from corten.runtime.mountplan import MountPlan

NAMESPACES: dict[str, int] = {
    "user": p.CLONE_NEWUSER,  # joined first: it decides what one may do to the others
    "mount": p.CLONE_NEWNS,
    "uts": p.CLONE_NEWUTS,
    "ipc": p.CLONE_NEWIPC,
    "network": p.CLONE_NEWNET,
    "pid": p.CLONE_NEWPID,
    "cgroup": p.CLONE_NEWCGROUP,
    "time": p.CLONE_NEWTIME,
}

PROPAGATIONS = ("shared", "slave", "private", "unbindable")

CLONED_INTO = ("user", "pid", "time")  # a process is cloned into these; the others it joins itself


class InvalidSpec(ValueError):
    """The configuration contradicts itself or the specification; the message says where."""


class IdMap(NamedTuple):
    """uid_map and gid_map as user_namespaces(7) wants them written."""

    uids: str
    gids: str


class Plan(NamedTuple):
    """What parent and child agree on before there is a child."""

    spec: dict[str, Any]
    clone_flags: int  # namespaces that clone3 makes
    new_cgroup_namespace: bool  # made by the child, once it is in its cgroup
    joins: tuple[tuple[str, str], ...]  # (kind, path), the user namespace first; "pid" is the parent's business
    id_map: IdMap | None
    userns: bool  # the program lives in a user namespace that is not ours
    private_mounts: bool  # False: its root is mounted where the bundle has it, and entered by chroot(2)
    own_null: bool  # /dev/null is made by us in a new file system: nothing else can be in its place
    root: tuple[MountPlan, ...]
    mounts: tuple[MountPlan, ...]

    def describe(self) -> list[str]:
        """The plan in lines a person can read (`--debug`)."""
        made = [kind for kind, flag in NAMESPACES.items() if self.clone_flags & flag]
        lines = [f"clone3 with new namespaces: {', '.join(made)}"]
        lines += [f"join {kind} namespace {path}" for kind, path in self.joins]
        lines += [f"root: {mount.describe()}" for mount in self.root]
        lines += [f"mount {mount.describe()}" for mount in self.mounts]
        return lines


def plan(spec: dict[str, Any], root: tuple[MountPlan, ...]) -> Plan:
    """Plan `spec`, whose root file system is made of `root` (in order; the last is the tree itself)."""
    linux = spec.get("linux") or {}
    check_labels(spec.get("process") or {})
    if (kind := linux.get("rootfsPropagation") or "") and kind.removeprefix("r") not in PROPAGATIONS:
        raise InvalidSpec(f"linux.rootfsPropagation {kind!r} is unknown")
    if linux.get("mountLabel"):
        raise InvalidSpec(f"linux.mountLabel {linux['mountLabel']!r}: SELinux is not supported")
    flags, joins, cgroup = 0, [], False
    seen = set()
    for entry in linux.get("namespaces") or ():
        kind = entry["type"]
        if kind not in NAMESPACES:
            raise InvalidSpec(f"unknown namespace type {kind!r}")
        if kind in seen:
            raise InvalidSpec(f"namespace {kind!r} is listed twice")
        seen.add(kind)
        if entry.get("path"):
            joins.append((kind, entry["path"]))
        elif kind == "cgroup":
            cgroup = True
        else:
            flags |= NAMESPACES[kind]
    _check_own(spec, seen)
    order = list(NAMESPACES)
    joins.sort(key=lambda join: order.index(join[0]))
    id_map = _id_map(linux) if flags & p.CLONE_NEWUSER else None
    mounts = tuple(mountplan.parse(entry) for entry in spec.get("mounts") or ())
    for mount in mounts:
        if not mount.target.startswith("/"):
            raise InvalidSpec(f"mount destination {mount.target!r} is not absolute")
    return Plan(
        spec, flags, cgroup, tuple(joins), id_map, "user" in seen, bool(flags & p.CLONE_NEWNS),
        _own_null(mounts, linux.get("devices") or ()), root, mounts,
    )  # fmt: skip


def _check_own(spec: dict[str, Any], namespaces: set[str]) -> None:
    """What would be set for the whole machine is refused."""
    for name in ("hostname", "domainname"):
        if spec.get(name) and "uts" not in namespaces:
            raise InvalidSpec(f"{name} cannot be set without a UTS namespace")
    for name in (spec.get("linux") or {}).get("sysctl") or ():
        kind = sysctls.namespace_of(name)
        if not kind or kind not in namespaces:
            raise InvalidSpec(f"sysctl {name} cannot be set without {f'its {kind}' if kind else 'its own'} namespace")


def check_labels(process: dict[str, Any]) -> None:
    """Raises InvalidSpec: a process is not started with less than the confinement that it was to have."""
    if label := process.get("selinuxLabel"):
        raise InvalidSpec(f"process.selinuxLabel {label!r}: SELinux is not supported")


def _own_null(mounts: tuple[MountPlan, ...], devices: Any) -> bool:
    named_so = [mount for mount in mounts if "dev" in mount.target]  # few, and a path takes a while to be normalised
    there = [mount for mount in named_so if posixpath.normpath(mount.target) in ("/dev", "/dev/null")]
    if len(there) != 1 or there[0].fstype != "tmpfs" or there[0].copy_up or there[0].add & m.MOUNT_ATTR_NODEV:
        return False
    named = [device for device in devices if device["path"] == "/dev/null"]
    return all((device["type"], device.get("major"), device.get("minor")) == ("c", 1, 3) for device in named)


def _id_map(linux: dict[str, Any]) -> IdMap:
    def lines(mappings: list[dict[str, int]]) -> str:
        return "".join(f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in mappings)

    uids, gids = linux.get("uidMappings") or [], linux.get("gidMappings") or []
    if not uids or not gids:
        raise InvalidSpec("a new user namespace needs uidMappings and gidMappings")
    return IdMap(lines(uids), lines(gids))


def has_own_mounts(spec: dict[str, Any]) -> bool:
    """Whether the container is alone in its mount namespace: `Plan.private_mounts`."""
    namespaces = (spec.get("linux") or {}).get("namespaces") or ()
    return any(entry["type"] == "mount" and not entry.get("path") for entry in namespaces)
