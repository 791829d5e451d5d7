"""What a daemon holds on the machine, counted: equal before and after a test, or the test has left something behind."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections import Counter
from pathlib import Path

from corten.tasks.namespaces import SPARE
from e2e_parts.cortend import Cortend
from e2e_parts.patience import PATIENCE

SETTLE = PATIENCE  # seconds that work behind an answer may take on a busy machine
_LISTENING = "0A"
_STORE = 10.0  # seconds in which a process that has what to do for it fills the store of network namespaces
_SECOND = (" corten:builds", " corten:pods")  # launchers for these: there with the first
_NAMESPACES = " corten:netns"  # the process that makes network namespaces: there with the first
_READY = (" corten:spare", _NAMESPACES, *_SECOND)  # the first is a supervisor without a container
_KEPT = "/memfd:corten-seccomp"  # compiled filters: one for each profile that was ever asked for
Census = dict[str, list[str]]


def take(daemon: Cortend) -> Census:
    """Each kind of thing, as sorted lines that say which."""
    processes = _processes(daemon)
    return {
        "mounts": _mounts(daemon),
        "processes": [process for process in processes if not process.endswith(_READY)],
        "network namespaces": _namespaces(daemon),
        "links": _links(daemon),
        "firewall": _firewall(daemon),
        "cgroups": _cgroups(daemon),
        "exec root": below(daemon.exec / "containers"),
        "bundles": _names(daemon.data / "containers"),
        "snapshots": _names(daemon.data / "snapshots") + _names(daemon.data / "snapshots" / ".trash"),
        "volumes": [name for name in _names(daemon.data / "volumes") if not name.startswith(".")],
        "records": _records(daemon),
        "daemon's files": _without(_files(daemon.pid), "unix", sum(map(_is_second_launcher, processes))),
        "launcher's files": [f"{pid}: {line}" for pid in _children(daemon.pid) for line in _files(pid)],
    }


def settled(daemon: Cortend) -> Census:
    """`take`, once two in a row are the same: a daemon that has just answered may still be at work.

    What is erased behind an answer may be there in both: so there are no more bundles than containers. What it keeps in
    store for the next start is made beside that work, by a process that may be long in coming to it: two counts without
    it would be the same as well, and one with it at the end of the test a difference.
    """
    begun, last = time.monotonic(), take(daemon)
    while (
        (now := take(daemon)) != last or _erases(now) or not (_stored(daemon, now) or time.monotonic() - begun > _STORE)
    ):
        if time.monotonic() - begun > SETTLE:
            break
        last = now
        time.sleep(0.02)
    return now


def _erases(census: Census) -> bool:
    return len(census["bundles"]) > sum(record.startswith("container ") for record in census["records"])


def _stored(daemon: Cortend, census: Census) -> bool:
    """Whether it is full, or nothing fills it: no container has had a namespace of its own yet."""
    fills = any(process.endswith(_NAMESPACES) for process in _processes(daemon))
    return not fills or census["network namespaces"].count("net") >= SPARE


def difference(before: Census, daemon: Cortend) -> dict[str, tuple[list[str], list[str]]]:
    """What has come and what has gone, by kind, once work behind the answers had its time; empty when all is equal."""
    deadline = time.monotonic() + SETTLE
    while True:
        changed = {}
        for kind, now in take(daemon).items():
            come, gone = Counter(now) - Counter(before[kind]), Counter(before[kind]) - Counter(now)
            if come or gone:
                changed[kind] = (sorted(come.elements()), sorted(gone.elements()))
        if not changed or time.monotonic() > deadline:
            return changed
        time.sleep(0.05)


def _mounts(daemon: Cortend) -> list[str]:
    """In this mount namespace, and in those of the daemon and its launcher."""
    found = []
    for pid in (os.getpid(), daemon.pid, *_children(daemon.pid)):
        lines = _text(Path(f"/proc/{pid}/mountinfo")).splitlines()
        found += [f"{pid}: {line.split(' - ')[0].split(' ', 3)[3]}" for line in lines if str(daemon.root) in line]
    return sorted(found)


def _children(pid: int) -> list[int]:
    return [int(child) for child in _text(Path(f"/proc/{pid}/task/{pid}/children")).split()]


def _processes(daemon: Cortend) -> list[str]:
    """The daemon's children and theirs, processes that carry its mark, and whatever is in its cgroups.

    Those that are `_READY` are there as soon as there has been one container, or build.
    """
    found: set[int] = set()
    parents, marked = {}, f"CORTEN_E2E={daemon.name}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        status = _text(Path(f"/proc/{entry}/stat"))
        if not status:
            continue
        parents[int(entry)] = int(status.rpartition(")")[2].split()[1])
        if marked in _bytes(Path(f"/proc/{entry}/environ")).split(b"\0") or daemon.cgroup + "/" in _text(
            Path(f"/proc/{entry}/cgroup")
        ):
            found.add(int(entry))
    below = {daemon.pid}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    named = (f"{pid} {_text(Path(f'/proc/{pid}/comm')).strip()}" for pid in found | below)
    return sorted(named)


def _is_second_launcher(process: str) -> bool:
    return process.endswith(_SECOND)


def _without(lines: list[str], line: str, count: int) -> list[str]:
    """Without so many of these lines: the daemon's connections to further launchers."""
    for _ in range(count):
        lines.remove(line)
    return lines


def _namespaces(daemon: Cortend) -> list[str]:
    """Kinds of the namespaces that the daemon or its launcher holds by a descriptor; others live by their processes.

    Which they are does not matter: the daemon keeps one in store for the next start.
    """
    links = [_link(fd) for pid in (daemon.pid, *_children(daemon.pid)) for fd in _fds(pid)]
    return sorted(link.partition(":[")[0] for link in links if link.startswith(("net:[", "user:[", "mnt:[")))


def _links(daemon: Cortend) -> list[str]:
    return _names(Path(f"/sys/class/net/{daemon.bridge}/brif"))


def _firewall(daemon: Cortend) -> list[str]:
    """Every line of every table whose name carries the daemon's: chains, rules, sets and their elements."""
    found = []
    for table in _nft("tables").splitlines():
        if daemon.bridge in table:
            found += [line.strip() for line in _nft(*table.split()).splitlines() if line.strip()]
    return sorted(found)


def _nft(*what: str) -> str:
    return subprocess.run(["nft", "list", *what], capture_output=True, text=True, timeout=60).stdout


def _cgroups(daemon: Cortend) -> list[str]:
    parents = [Path(line.split()[1]) for line in _text(Path("/proc/mounts")).splitlines() if " cgroup" in line]
    found = []
    for parent in parents:
        top = f"{parent}{daemon.cgroup}"
        found += [path for path, _, _ in os.walk(top) if path != top]  # (a group may go while they are looked at)
    return sorted(found)


def _records(daemon: Cortend) -> list[str]:
    ask = daemon.ask_quietly
    images = [f"image {tag}" for image in ask("/images/json") for tag in image["RepoTags"] or [image["Id"]]]
    return sorted(
        [f"container {container['Names']}" for container in ask("/containers/json?all=1")]
        + [f"volume {volume['Name']}" for volume in ask("/volumes")["Volumes"] or ()]
        + [f"network {network['Name']}" for network in ask("/networks")]
        + images
    )


def _files(pid: int) -> list[str]:
    """Open files by kind, and unix sockets by the path that they are bound to.

    Connections to a registry are left out: they are kept for a while for the next request.
    """
    names = {}
    for line in _text(Path("/proc/net/unix")).splitlines()[1:]:
        words = line.split()
        names[f"socket:[{words[6]}]"] = " ".join(["unix", *words[7:]])
    for table in ("tcp", "tcp6"):
        for line in _text(Path(f"/proc/net/{table}")).splitlines()[1:]:
            words = line.split()
            names[f"socket:[{words[9]}]"] = "" if words[3] != _LISTENING else f"listening {words[1]}"
    links = [link for fd in _fds(pid) if (link := _link(fd)) and not link.startswith(_KEPT)]
    return sorted(name for link in links if (name := names.get(link, link.split(":[")[0])))


def _fds(pid: int) -> list[str]:
    try:
        return [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]
    except FileNotFoundError:
        return []


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except (FileNotFoundError, PermissionError):  # the second: the process has ended while its directory was looked at
        return ""
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        # A directory of a deep tree that is being erased: no two censuses are the same before that is done.
        return f"{path} at {time.monotonic_ns()}"


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def below(directory: Path) -> list[str]:
    """Relative paths of all that is in it; what goes meanwhile is passed over (`Path.rglob` fails of that)."""
    found = []
    for place, directories, files in os.walk(directory):  # which passes over what goes meanwhile
        found += [os.path.relpath(os.path.join(place, name), directory) for name in (*directories, *files)]
    return sorted(found)


def _text(path: Path) -> str:
    return _bytes(path).decode(errors="replace")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
