"""What an entry of the specification's "mounts" means (runtime-spec, config.md, "Mounts"; mount(8) for the words)."""

from __future__ import annotations

from typing import Any, NamedTuple

from corten.kernel import mount as m
from corten.runtime.host_mounts import HOST, MOUNT, TREE

_ATTRIBUTES: dict[str, tuple[int, int]] = {  # word: (set, clear)
    "ro": (m.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, m.MOUNT_ATTR_RDONLY),
    "nosuid": (m.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, m.MOUNT_ATTR_NOSUID),
    "nodev": (m.MOUNT_ATTR_NODEV, 0),
    "dev": (0, m.MOUNT_ATTR_NODEV),
    "noexec": (m.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, m.MOUNT_ATTR_NOEXEC),
    "nodiratime": (m.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, m.MOUNT_ATTR_NODIRATIME),
    "relatime": (m.MOUNT_ATTR_RELATIME, m.MOUNT_ATTR__ATIME),
    "norelatime": (0, m.MOUNT_ATTR__ATIME),
    "noatime": (m.MOUNT_ATTR_NOATIME, m.MOUNT_ATTR__ATIME),
    "atime": (0, m.MOUNT_ATTR__ATIME),
    "strictatime": (m.MOUNT_ATTR_STRICTATIME, m.MOUNT_ATTR__ATIME),
    "nostrictatime": (0, m.MOUNT_ATTR__ATIME),
    "nosymfollow": (m.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, m.MOUNT_ATTR_NOSYMFOLLOW),
}
_PROPAGATION = {
    "shared": m.MS_SHARED,
    "slave": m.MS_SLAVE,
    "private": m.MS_PRIVATE,
    "unbindable": m.MS_UNBINDABLE,
}
_IGNORED = frozenset(
    ("defaults", "async", "sync", "dirsync", "remount", "iversion", "noiversion", "silent", "loud", "mand", "nomand")
)


class MountPlan(NamedTuple):
    """One mount, taken apart. `kind` is "bind", "cgroup", "new", or "host" (see `host_mounts`); `data` goes to the file
    system itself, with "host" all words that there were."""

    kind: str
    fstype: str
    source: str
    target: str
    add: int = 0
    clear: int = 0
    recursive_add: int = 0  # "rro" and its like: on every mount below as well
    recursive_clear: int = 0
    propagation: int = 0
    propagation_recursive: bool = False
    recursive: bool = False  # rbind
    idmap: bool = False
    copy_up: bool = False
    data: tuple[str, ...] = ()
    mount: int = 0  # of a bind whose source is in another container: the mount that has to be there

    def describe(self) -> str:
        return f"{self.fstype if self.kind == 'new' else self.kind} {self.source} on {self.target}"


def parse(entry: dict[str, Any]) -> MountPlan:
    """A mount of the specification as a plan. Unknown words belong to the file system, which refuses what it must."""
    if entry.get("options") and (HOST in entry["options"] or TREE in entry["options"]):
        return _of_host(entry)
    add = clear = recursive_add = recursive_clear = propagation = 0
    propagation_recursive = recursive = bind = idmap = copy_up = False
    data: list[str] = []
    mount = 0
    for word in entry.get("options") or ():
        if word in ("bind", "rbind"):
            bind, recursive = True, word == "rbind"
        elif word in _ATTRIBUTES:
            bits, off = _ATTRIBUTES[word]
            add, clear = (add & ~off) | bits, (clear & ~bits) | off
        elif word[:1] == "r" and word[1:] in _ATTRIBUTES:
            bits, off = _ATTRIBUTES[word[1:]]
            recursive_add, recursive_clear = (recursive_add & ~off) | bits, (recursive_clear & ~bits) | off
        elif word in _PROPAGATION:
            propagation = _PROPAGATION[word]
        elif word[:1] == "r" and word[1:] in _PROPAGATION:
            propagation, propagation_recursive = _PROPAGATION[word[1:]], True
        elif word in ("idmap", "ridmap"):
            idmap = True
        elif word.startswith(MOUNT):
            mount = int(word.removeprefix(MOUNT))
        elif word == "tmpcopyup":
            copy_up = True
        elif word not in _IGNORED:
            data.append(word)
    fstype = entry.get("type") or ("bind" if bind else "")
    kind = "bind" if bind or fstype in ("bind", "none") else "cgroup" if fstype in ("cgroup", "cgroup2") else "new"
    return MountPlan(
        kind, fstype, entry.get("source") or fstype, entry["destination"], add, clear, recursive_add, recursive_clear,
        propagation, propagation_recursive, recursive, idmap, copy_up, () if kind == "bind" else tuple(data), mount,
    )  # fmt: skip


def _of_host(entry: dict[str, Any]) -> MountPlan:
    words = tuple(entry["options"])
    return MountPlan("host", entry["type"], entry.get("source") or "", entry["destination"], data=words)
