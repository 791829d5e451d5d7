"""Removes what an earlier daemon or boot left behind without an owner, before anything is adopted.

Ours is what carries the id of a container of ours: a record, a bundle, or a directory below our exec root. Everything
else has another owner, another daemon with the same cgroup parent for instance, and is not touched. Bridges, devices
and firewall rules are swept by the network room, uncommitted layers by the image store.

    directory below the exec root   no supervisor listens there any more          removed, with its control group
    supervisor, container           the record has no start                        killed, as if it had not been started
    control group of a container    no supervisor, whatever is in the record      killed and removed
    bundle                          no record: the create was not completed       removed
    writable tree                   no record                                     removed
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from corten.engine.containers import records
from corten.errors import CortenError
from corten.runtime import cgroups
from corten.store.table import Table
from corten.tasks import leftovers

log = logging.getLogger("cortend")

_WITH_TASK = ("running", "paused")
_AT_A_TIME = 64
T = TypeVar("T")
_ID = re.compile(r"[0-9a-f]{64}\Z")


class Trees(Protocol):
    def keys(self, committed: bool) -> list[str]: ...

    def remove(self, key: str) -> None: ...


def sweep(data_root: Path, exec_root: Path, cgroup_parent: str, table: Table, trees: Trees) -> list[str]:
    """Remove what is stale. What was done, one line each; they are in the daemon's log as well."""
    known = table.list(records.KIND)
    bundles, runs = data_root / "containers", exec_root / "containers"
    said: list[str] = []
    running = {id for id in _names(runs) if leftovers.supervised(runs / id)}
    said += [f"container {id} runs and has no record: left alone" for id in sorted(running - known.keys())]
    said += _unacknowledged(running & known.keys(), known, runs, bundles)
    stale = {id: f"{cgroup_parent}/{id}" for id in _names(runs) - running if _ID.match(id)}
    stale |= _groups({*known, *_names(bundles), *_names(runs)} - running, _parents(known, cgroup_parent))
    removed = _at_once(stale, lambda id: leftovers.remove(runs / id, bundles / id, stale[id]))
    said += [f"container {id}: {what}" for id, lines in removed.items() for what in lines]
    said += _bundles(bundles, known.keys() | running)
    said += _trees(trees, known.keys() | running)
    for line in said:
        log.warning("sweep: %s", line)
    return said


def _unacknowledged(running: set[str], known: Mapping[str, dict[str, Any]], runs: Path, bundles: Path) -> list[str]:
    """Starts that a daemon was killed before it recorded: no client had an answer, so they have not happened."""
    started = {id for id in running if _object(known[id].get("state")).get("status") not in _WITH_TASK}

    def end(id: str) -> str:
        what = f"container {id}: a start that was not completed"
        try:
            leftovers.kill(bundles / id)
        except (CortenError, OSError) as error:
            return f"{what} could not be ended: {error}"
        return what if leftovers.ended(runs / id) or leftovers.remove(runs / id, bundles / id) else ""

    return [line for line in _at_once(started, end).values() if line]


def _at_once(ids: Iterable[str], work: Callable[[str], T]) -> dict[str, T]:
    """Each of these may take seconds, for a process that the kernel holds or a supervisor that hangs, and clients wait
    for all of them: side by side they take as long as the slowest. In the order of ids."""
    ordered = sorted(ids)
    with ThreadPoolExecutor(_AT_A_TIME, "sweep") as pool:
        return dict(zip(ordered, pool.map(work, ordered)))


def _names(directory: Path) -> set[str]:
    try:
        return {name for name in os.listdir(directory) if _ID.match(name)}
    except FileNotFoundError:
        return set()


def _object(recorded: object) -> dict[str, Any]:
    """{} for what is none, of a record that cannot be read."""
    return recorded if isinstance(recorded, dict) else {}


def _parents(known: Mapping[str, dict[str, Any]], default: str) -> set[str]:
    """Where containers of ours may have their control groups."""
    chosen = {str(_object(body.get("host_config")).get("CgroupParent") or default) for body in known.values()}
    return {parent if parent.startswith("/") else "/" + parent for parent in chosen | {default}}


def _groups(ids: set[str], parents: Iterable[str]) -> dict[str, str]:
    """Control groups that are there for one of `ids`: id to path. Two listings a tree, however many ids there are."""
    found = {}
    for hierarchy in cgroups.detect().hierarchies:
        for parent in parents:
            found.update({id: f"{parent}/{id}" for id in ids & _names(Path(hierarchy.mountpoint + parent))})
    return found


def _bundles(bundles: Path, owned: Iterable[str]) -> list[str]:
    said = []
    for id in sorted(_names(bundles) - set(owned)):
        try:
            shutil.rmtree(bundles / id)
            said.append(f"bundle {id}, which no container has")
        except OSError as error:
            said.append(f"bundle {id} could not be removed: {error}")
    return said


def _trees(trees: Trees, owned: Iterable[str]) -> list[str]:
    lost = sorted(key for key in set(trees.keys(committed=False)) - set(owned) if _ID.match(key))
    for key in lost:
        trees.remove(key)
    return [f"writable tree {key}, which no container has" for key in lost]
