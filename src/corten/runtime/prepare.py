"""On the host, before there is a child: the root file system and every bind, as detached mounts.

They exist only as descriptors: when the last one is closed they are gone, so a failure at any point leaves nothing on
the host to unmount. Resolving host paths is done here and nowhere else.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from importlib import import_module
from typing import NamedTuple

from corten.kernel import mount as m
from corten.kernel import paths
from corten.kernel import process as p
from corten.kernel import syscall as sys
from corten.runtime import host_mounts, mountplan, null
from corten.runtime.mountplan import MountPlan
from corten.runtime.plan import Plan

_ELSEWHERE = re.compile(r"/proc/([0-9]+)/root(/.+)")
_VIEWS = "/sys"  # a directory that every host has and a supervisor does not need

_KINDS = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}
DEFAULT_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))


class CgroupMount(NamedTuple):
    """One hierarchy as the container is to see it: below `name`, or itself when that is empty (cgroup v2)."""

    name: str
    path: str
    links: tuple[str, ...] = ()


class Prepared(NamedTuple):
    """Descriptors of detached mounts; the parent closes them once the child has its copies."""

    root: int
    binds: dict[int, int]  # by index in plan.mounts
    cgroups: tuple[tuple[CgroupMount, int], ...]
    null: int  # stands in for the null device where the container may have none, else -1
    devices: dict[str, int]  # binds of host devices, where the child may not make nodes (user namespace)
    namespaces: dict[str, int]  # to be joined, by kind

    def descriptors(self) -> list[int]:
        binds = (*self.binds.values(), *(fd for _, fd in self.cgroups), *self.devices.values())
        null_ = () if self.null < 0 else (self.null,)
        return [self.root, *null_, *binds, *self.namespaces.values()]

    def close(self) -> None:
        for fd in self.descriptors():
            os.close(fd)


def prepare(plan: Plan, cgroups: tuple[CgroupMount, ...], later: bool = False) -> Prepared:
    """Everything `plan` needs from the host. On failure nothing stays open.

    With `later` the first process makes those binds itself that it can (`made_later`): then the kernel lists all mounts
    of the container in the specification's order.
    """
    if any(mount.copy_up for mount in plan.mounts):
        import_module("corten.layers.copy")  # which few need; the first process has another root when it does
    opened: list[int] = []

    def keep(fd: int) -> int:
        opened.append(fd)
        return fd

    try:
        namespaces = {kind: keep(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) for kind, path in plan.joins}
        binds = {
            i: keep(_mapped(bind(mount), mount, namespaces.get("user", -1)))
            for i, mount in enumerate(plan.mounts)
            if mount.kind == "bind" and not (later and made_later(plan, mount))
        }
        shown = any(mount.kind == "cgroup" for mount in plan.mounts)
        hierarchies = tuple((cgroup, keep(m.clone(sys.AT_FDCWD, cgroup.path))) for cgroup in cgroups) if shown else ()
        # Only where it may be needed: to close a mount that was put nowhere takes milliseconds of the kernel's time.
        instead = -1 if plan.own_null else keep(null.stand_in())
        devices = {path: keep(_device(path, *which)) for path, which in _bound_devices(plan).items()}
        # Last: those below may go on in a copy of the mounts, where a path by /proc to what others hold is of no use.
        userns = namespaces.get("user", -1)
        root = keep(_root(plan.root, userns))
        binds |= {i: keep(of_host(mount, userns)) for i, mount in enumerate(plan.mounts) if mount.kind == "host"}
        return Prepared(root, binds, hierarchies, instead, devices, namespaces)
    except BaseException:
        for fd in opened:
            os.close(fd)
        raise


def of_host(mount: MountPlan, userns: int = -1) -> int:
    """A detached mount of what is mounted by the host's root (`host_mounts`). The process may be in a mount namespace
    of its own afterwards."""
    if any(word.startswith(host_mounts.CONTENT) for word in mount.data):
        return host_mounts.filled(mount.data)
    if host_mounts.TREE not in mount.data:
        return host_mounts.mount(mount.fstype, mount.source, mount.data)
    words = [word for word in mount.data if word != host_mounts.TREE]
    subpath = next((word for word in words if word.startswith(host_mounts.SUBPATH)), "")
    plan = mountplan.parse({"destination": "/", "type": "overlay", "source": mount.source,
                            "options": [word for word in words if word != subpath]})  # fmt: skip
    tree = _root((plan,), userns)
    return host_mounts.below(tree, subpath.removeprefix(host_mounts.SUBPATH)) if subpath else tree


def is_elsewhere(mount: MountPlan) -> bool:
    """Whether the source is in another container, by this host's /proc."""
    return mount.kind == "bind" and _ELSEWHERE.fullmatch(mount.source) is not None


def made_later(plan: Plan, mount: MountPlan) -> bool:
    """Whether the first process sees the source as this one does: in a copy of its mounts, with its rights, and not by
    a link to what is of another mount namespace."""
    return plan.private_mounts and not plan.userns and not mount.source.startswith("/proc/")


def _root(mounts: tuple[MountPlan, ...], userns: int) -> int:
    """The root file system. Trees that an engine keeps belong to the host's ids: for a container that joins a user
    namespace they are shown with that namespace's."""
    (mount,) = mounts
    if mount.kind == "bind":
        return _mapped(bind(mount), mount, userns)
    if userns >= 0 and mount.fstype == "overlay":
        return _mapped_overlay(mount, userns)
    return m.new(mount.fstype, mount.data, mount.add, mount.source)


def _mapped(fd: int, mount: MountPlan, userns: int) -> int:
    """With the owners of a user namespace, where the mount asks for that. OSError, also where the file system of the
    source, or of what is mounted below it, cannot (EINVAL)."""
    if userns >= 0 and mount.idmap:
        try:
            m.set_attributes(fd, m.MOUNT_ATTR_IDMAP, recursive=mount.recursive, userns=userns)
        except OSError:
            os.close(fd)
            raise
    return fd


def _mapped_overlay(mount: MountPlan, userns: int) -> int:
    """An overlay over id-mapped views of its layers (Linux 5.19).

    Overlay takes its layers by path, so the views need one: they are put into a mount namespace that this process
    makes for itself, for as long as that takes. Overlay keeps its own copies of them.
    """
    options = _mapped_layers(mount.data, userns)
    try:
        return m.new(mount.fstype, options, mount.add, mount.source)
    finally:
        m.unmount(_VIEWS, m.MNT_DETACH)


def _mapped_layers(options: tuple[str, ...], userns: int) -> tuple[str, ...]:
    """The same options with the lower layers shown by their views.

    The upper layer is not mapped: overlay writes to it with the host's root as mounter, which a mapped mount would not
    know. It holds the namespace's ids as they are on the host, beginning with its top directory.
    """
    words = dict(option.partition("=")[::2] for option in options)
    p.unshare(p.CLONE_NEWNS)
    m.set_propagation("/", m.MS_SLAVE)
    tree = m.new("tmpfs", ("mode=700",))
    m.move_to(tree, _VIEWS)
    os.close(tree)
    layers = enumerate(words["lowerdir"].split(":"))
    words["lowerdir"] = ":".join(_mapped_view(layer, f"{_VIEWS}/{number}", userns) for number, layer in layers)
    if "upperdir" in words:
        top = os.stat(f"{_VIEWS}/0")  # the root's owner, as the namespace is to see it
        os.chown(words["upperdir"], top.st_uid, top.st_gid)
    return tuple(f"{key}={value}" if value else key for key, value in words.items())


def _mapped_view(path: str, target: str, userns: int) -> str:
    fd = m.clone(sys.AT_FDCWD, path)
    m.set_attributes(fd, m.MOUNT_ATTR_IDMAP, propagation=m.MS_PRIVATE, userns=userns)
    os.mkdir(target)
    m.move_to(fd, target)
    os.close(fd)
    return target


def bind(plan: MountPlan) -> int:
    """A detached bind with its attributes and propagation; its source is a path of the host."""
    elsewhere = _ELSEWHERE.fullmatch(plan.source)
    if elsewhere:
        fd = _foreign(elsewhere[1], elsewhere[2], plan.recursive, plan.mount)
    else:
        fd = m.clone(sys.AT_FDCWD, plan.source, plan.recursive)
    try:
        # A copy of a shared mount is its peer: what the container mounts below would appear on the host. Unless that
        # is what was asked for, cut that way first.
        if plan.propagation != m.MS_SHARED:
            m.set_attributes(fd, propagation=plan.propagation or m.MS_SLAVE, recursive=True)
        if plan.add or plan.clear:
            m.set_attributes(fd, plan.add, plan.clear)
        if plan.recursive_add or plan.recursive_clear:
            m.set_attributes(fd, plan.recursive_add, plan.recursive_clear, recursive=True)
        if plan.propagation == m.MS_SHARED:
            m.set_attributes(fd, propagation=m.MS_SHARED, recursive=plan.propagation_recursive)
    except OSError:
        os.close(fd)
        raise
    return fd


def _foreign(pid: str, path: str, recursive: bool, mount: int) -> int:
    """A copy of a mount of another container: /dev/shm of an IPC namespace that is shared, a volume.

    Mounts can only be copied from inside their namespace (open_tree(2), EINVAL). Its processes may have moved a parent
    of the place, or put a link there, so that this container gets what they have read-only (their sysfs, a bind), and
    may write to it. So it has to be the mount of that number; without one there may be no link on the way.
    """
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    there = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    back = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    place = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        where = paths.open_in(root, path) if mount else paths.open_without_links(root, path)
        try:
            if mount and m.number(where) != mount:
                raise OSError(errno.ESTALE, f"the container of process {pid} has something else at {path}")
            p.setns(there, p.CLONE_NEWNS)
            try:
                return m.clone(where, recursive=recursive)
            finally:
                p.setns(back, p.CLONE_NEWNS)
                os.fchdir(place)
        finally:
            os.close(where)
    finally:
        for fd in (root, there, back, place):
            os.close(fd)


def _device(path: str, kind: str, number: int) -> int:
    """Read-only: a process that may write to a device may also set the times of its node, which is the host's.

    `path` is where the container has it. What the host has there may be anything else, which the container gets
    nothing of: then it is the node of that kind and number that the kernel names. Raises OSError where there is none.
    """
    for at in (path, _node(kind, number)):
        try:
            fd = os.open(at, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            status = os.fstat(fd)
            if _KINDS.get(stat.S_IFMT(status.st_mode)) == kind and status.st_rdev == number:
                return null.read_only(m.clone(fd))
        finally:
            os.close(fd)
    raise OSError(errno.ENODEV, f"no node of device {kind} {os.major(number)}:{os.minor(number)}", path)


def _node(kind: str, number: int) -> str:
    """Where the kernel has the node of a device (sysfs(5), DEVNAME); "" when it knows none."""
    kinds = "block" if kind == "b" else "char"
    try:
        with open(f"/sys/dev/{kinds}/{os.major(number)}:{os.minor(number)}/uevent", "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return ""
    name = next((line.removeprefix(b"DEVNAME=") for line in lines if line.startswith(b"DEVNAME=")), b"")
    return f"/dev/{os.fsdecode(name)}" if name else ""


def _bound_devices(plan: Plan) -> dict[str, tuple[str, int]]:
    """By path: kind and number. A pipe can be made in there."""
    if not plan.userns:
        return {}
    found = {f"/dev/{name}": ("c", os.makedev(major, minor)) for name, major, minor in DEFAULT_DEVICES}
    for device in (plan.spec.get("linux") or {}).get("devices") or ():
        if device["type"] in ("b", "c", "u"):
            kind = "b" if device["type"] == "b" else "c"
            found[device["path"]] = kind, os.makedev(device.get("major", 0), device.get("minor", 0))
    return found
