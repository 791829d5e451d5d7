"""The container's tree, built by the container's first process: file systems, root, mounts, devices, masks.

Everything before `change_root` works on the host's tree and touches nothing of it; everything after has no other tree
than the container's.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from corten.kernel import descriptors, paths, pty
from corten.kernel import mount as m
from corten.runtime import null
from corten.runtime.mountplan import MountPlan
from corten.runtime.plan import Plan
from corten.runtime.prepare import DEFAULT_DEVICES, Prepared, bind

_LINKS = (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
          ("stderr", "/proc/self/fd/2"), ("core", "/proc/kcore"))  # fmt: skip
_FILE_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}

# Where the root rests for the instant between move_mount and pivot_root. Any directory that every host has and that
# nothing needs meanwhile will do; the bundle's own is out of reach for the root of a user namespace.
_LANDING = "/sys"

_PROC_TARGETS = frozenset(  # lxcfs puts files over these; anything else below /proc is an attack on the masks
    f"/proc/{name}"
    for name in (
        "cpuinfo diskstats meminfo stat swaps uptime loadavg slabinfo sys/kernel/ns_last_pid sys/crypto/fips_enabled"
    ).split()
)


class Rootfs:
    def __init__(self, plan: Plan, prepared: Prepared) -> None:
        self._plan = plan
        self._linux: dict[str, Any] = plan.spec.get("linux") or {}
        self._prepared = prepared
        self._made: dict[int, int] = {}  # new file systems, by index in plan.mounts
        self._proc = -1
        self._devpts = -1
        self._root = -1
        self._own = -1  # this process's descriptors as a directory, where a tree is copied up
        self._descriptors = -1  # the host's /proc/self/fd, between change_root and open_null
        self._null = -1

    # ---------------------------------------------------------------------------- while the host's tree is there

    def make_file_systems(self) -> None:
        """Detached mounts of everything that is new."""
        for index, mount in enumerate(self._plan.mounts):
            if mount.kind == "bind" and index not in self._prepared.binds:
                self._made[index] = bind(mount)
            if mount.kind != "new":
                continue
            try:
                fd = m.new(mount.fstype, mount.data, mount.add, mount.source)
            except OSError as error:
                raise OSError(error.errno, f"{mount.target}: {error.strerror}") from error
            self._made[index] = fd
            if mount.fstype == "proc" and mount.target == "/proc":
                self._proc = fd
            elif mount.fstype == "devpts":
                self._devpts = fd
        if self._proc < 0 and self._linux.get("sysctl"):
            self._proc = m.new("proc")
        if any(mount.copy_up for mount in self._plan.mounts):
            self._own = descriptors.hold()

    def change_root(self) -> None:
        """Make the prepared tree `/`, and let the host's go."""
        self._descriptors = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if self._plan.private_mounts:
            self._change_mounts()
        else:
            self._change_directory()
        os.chdir("/")
        self._root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        propagation = self._linux.get("rootfsPropagation")
        if propagation in ("shared", "rshared"):
            m.set_propagation("/", m.MS_SHARED)
        elif propagation in ("private", "rprivate"):
            m.set_propagation("/", m.MS_PRIVATE)

    def _change_mounts(self) -> None:
        # What happens below must not reach the host; what the host mounts later may reach rslave binds.
        m.set_propagation("/", m.MS_SLAVE)
        root = self._prepared.root
        m.move_to(root, _LANDING)
        os.fchdir(root)
        m.pivot_root(".", ".")  # the old root now lies over the new one, and "." is still the new
        m.unmount(".", m.MNT_DETACH)

    def _change_directory(self) -> None:
        """In mounts that are others' too their root stays what it is. The container's is mounted where its tree lies,
        and unmounted, with all that is below, when the container is deleted."""
        root = self._prepared.root
        m.move_to(root, self._plan.root[-1].source)
        m.set_attributes(root, propagation=m.MS_PRIVATE, recursive=True)  # what is mounted below stays in here
        os.fchdir(root)
        os.chroot(".")

    # -------------------------------------------------------------------------------- only the container's tree

    def place_mounts(self) -> None:
        for index, mount in enumerate(self._plan.mounts):
            if mount.kind == "cgroup":
                self._place_cgroups(mount)
                continue
            fd = self._prepared.binds.get(index, self._made.get(index, -1))
            self._place(fd, mount)
            if mount.kind == "new" and mount.propagation:
                m.set_attributes(fd, propagation=mount.propagation, recursive=mount.propagation_recursive)

    def _place(self, fd: int, mount: MountPlan) -> None:
        target = os.path.normpath(mount.target)
        if mount.kind in ("bind", "host") and target.startswith("/proc/") and target not in _PROC_TARGETS:
            raise OSError(0, f"{target} cannot be mounted over: it is inside /proc")
        if mount.fstype in ("proc", "sysfs"):
            self._refuse_link(target)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            where = paths.make_directories(self._root, target)
        else:
            where = paths.make_file(self._root, target)
        try:
            if mount.copy_up and mount.fstype == "tmpfs":
                self._copy_up(where, fd)
            m.move(fd, where)
        except OSError as error:
            raise OSError(error.errno, f"cannot mount {mount.source!r} on {target!r}: {error.strerror}") from error
        finally:
            os.close(where)

    def _copy_up(self, source: int, target: int) -> None:
        """Before `target` is put over it. Containers may be at work in `source`, when it is in a volume."""
        from corten.layers import copy  # loaded by `prepare`

        view = m.view(source)
        try:
            with descriptors.through(self._own):
                copy.fill(view, target)
        finally:
            os.close(view)

    def _refuse_link(self, target: str) -> None:
        """CVE-2019-19921: /proc and /sys must be ordinary directories, or what is written there goes elsewhere."""
        try:
            mode = os.lstat(target).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            raise OSError(0, f"{target} in the image must be an ordinary directory")

    def _place_cgroups(self, mount: MountPlan) -> None:
        hierarchies = self._prepared.cgroups
        alone = len(hierarchies) == 1 and not hierarchies[0][0].name  # v2's tree is the mount itself
        top = hierarchies[0][1] if alone else m.new("tmpfs", ("mode=755",), 0, "tmpfs")
        where = paths.make_directories(self._root, mount.target)
        m.move(top, where)
        os.close(where)
        for cgroup, fd in () if alone else hierarchies:
            os.mkdir(cgroup.name, 0o755, dir_fd=top)
            m.move_to(fd, cgroup.name, top)
            for link in cgroup.links:
                os.symlink(cgroup.name, link, dir_fd=top)
        attributes = mount.add | m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOEXEC
        m.set_attributes(top, attributes, propagation=m.MS_PRIVATE, recursive=True)
        if not alone:
            os.close(top)

    def fill_dev(self) -> None:
        """Nodes and links of /dev. Where the user has mounted a /dev of the host, that is left as it is."""
        if any(mount.target == "/dev" and mount.kind == "bind" for mount in self._plan.mounts):
            return
        dev = paths.make_directories(self._root, "/dev")
        listed = {device["path"]: device for device in self._linux.get("devices") or ()}
        for name, major, minor in DEFAULT_DEVICES:
            listed.setdefault(f"/dev/{name}", {"path": f"/dev/{name}", "type": "c", "major": major, "minor": minor,
                                               "fileMode": 0o666})  # fmt: skip
        for device in listed.values():
            parent, _, name = device["path"].rpartition("/")
            if parent == "/dev":
                self._device(device, dev, name)
                continue
            directory = paths.make_directories(self._root, parent)
            self._device(device, directory, name)
            os.close(directory)
        for name, target in _LINKS:
            if not (name == "core" and not os.path.lexists("/proc/kcore")):
                _link(dev, name, target)
        if self._devpts >= 0:
            _unlink(dev, "ptmx")
            _link(dev, "ptmx", "pts/ptmx")
        os.close(dev)

    def open_null(self) -> int:
        """Find the null device, which masked files are covered with later; returns it open for reading and writing.

        Nothing of the host's /proc is kept afterwards.
        """
        self._null, opened = null.open_in(self._root, self._descriptors)
        if self._null < 0:
            if self._prepared.null < 0:
                raise OSError(0, "/dev/null in the container is not the null device")
            opened = null.reopen(self._prepared.null, self._descriptors)
        os.close(self._descriptors)
        return opened

    def _device(self, device: dict[str, Any], directory: int, name: str) -> None:
        path = device["path"]
        bound = self._prepared.devices.get(path)
        if bound is not None:
            where = paths.make_file(self._root, path)
            m.move(bound, where)
            os.close(where)
            return
        kind = _FILE_KINDS.get(device["type"])
        if kind is None:
            raise OSError(0, f"device {path} has the unknown type {device['type']!r}")
        number = os.makedev(device.get("major", 0), device.get("minor", 0))
        mode = device.get("fileMode")
        try:
            os.mknod(name, kind | (0o666 if mode is None else mode & 0o7777), number, dir_fd=directory)
        except FileExistsError:
            return
        if device.get("uid") or device.get("gid"):
            os.chown(name, device.get("uid") or 0, device.get("gid") or 0, dir_fd=directory, follow_symlinks=False)

    def open_console(self, size: tuple[int, int]) -> tuple[int, int]:
        """(master, slave) of a new terminal of this container, which is also /dev/console."""
        if self._devpts < 0:
            raise OSError(0, "a terminal needs a devpts mount")
        master, slave = pty.open_pair(self._devpts)
        if size[0] and size[1]:
            pty.resize(master, *size)
        console = m.clone(slave)
        where = paths.make_file(self._root, "/dev/console", 0o620)
        m.move(console, where)
        os.close(where)
        os.close(console)
        return master, slave

    def write_sysctls(self) -> None:
        """Through our own proc mount, by descriptor, crossing nothing (CVE-2025-52881)."""
        for key, value in (self._linux.get("sysctl") or {}).items():
            name = key if "/" in key else key.replace(".", "/")
            flags = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_XDEV | paths.RESOLVE_NO_MAGICLINKS
            try:
                fd = paths.openat2(self._proc, f"sys/{name}", os.O_WRONLY, 0, flags)
                try:
                    os.write(fd, str(value).encode())
                finally:
                    os.close(fd)
            except FileNotFoundError as error:
                raise OSError(error.errno, f"cannot set {key}={value}: this kernel has no such parameter") from error
            except OSError as error:
                raise OSError(
                    error.errno, f"cannot set {key}={value}: {os.strerror(error.errno or 0).lower()}"
                ) from error

    def make_directory(self, path: str) -> None:
        os.close(paths.make_directories(self._root, path))

    def protect_paths(self) -> None:
        for path in self._linux.get("readonlyPaths") or ():
            self._make_readonly(path)
        self._mask(self._linux.get("maskedPaths") or ())
        if (self._plan.spec.get("root") or {}).get("readonly"):
            m.set_attributes(self._root, m.MOUNT_ATTR_RDONLY)
        propagation = self._linux.get("rootfsPropagation")
        if propagation in ("unbindable", "runbindable"):  # now that nothing of it is copied any more
            m.set_propagation("/", m.MS_UNBINDABLE, recursive=propagation == "runbindable")

    def _make_readonly(self, path: str) -> None:
        where = _existing(self._root, path)
        if where < 0:
            return
        fd = m.clone(where, recursive=True)
        m.set_attributes(fd, m.MOUNT_ATTR_RDONLY | m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOEXEC)
        m.move(fd, where)
        os.close(fd)
        os.close(where)

    def _mask(self, masked: list[str] | tuple[str, ...]) -> None:
        """Files become the null device, directories one shared, empty tmpfs; both read-only."""
        empty, device = _Cover(-1), _Cover(-1 if self._null >= 0 else self._prepared.null)
        for path in dict.fromkeys(masked):
            where = _existing(self._root, path)
            if where < 0:
                continue
            if stat.S_ISDIR(os.fstat(where).st_mode):
                if empty.fd < 0:
                    empty.fd = m.new("tmpfs", ("nr_blocks=1", "nr_inodes=1"), m.MOUNT_ATTR_RDONLY, "tmpfs")
                empty.put(where)
            else:
                if device.fd < 0:
                    device.fd = null.read_only(m.clone(self._null))
                device.put(where)
            os.close(where)


class _Cover:
    """A mount to hide things with: the first time itself, then copies of where it was put.

    (Before Linux 6.15 a mount that is nowhere yet cannot be copied.)
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._placed = False

    def put(self, where: int) -> None:
        fd = m.clone(self.fd) if self._placed else self.fd
        m.move(fd, where)
        if self._placed:
            os.close(fd)
        self._placed = True


def _existing(root: int, path: str) -> int:
    """An O_PATH descriptor of `path`, -1 when there is no such thing."""
    try:
        return paths.open_in(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return -1


def _link(directory: int, name: str, target: str) -> None:
    try:
        os.symlink(target, name, dir_fd=directory)
    except FileExistsError:
        pass


def _unlink(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
