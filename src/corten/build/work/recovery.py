"""At the daemon's start: what an earlier one, which was killed, has left of steps, before the containers'
own sweep: a step's directory below the exec root is no container's."""

from __future__ import annotations

import logging
from pathlib import Path

from corten.build.work import memory
from corten.errors import CortenError, Forbidden
from corten.layers import tree
from corten.snapshots.tree_store import TreeStore
from corten.tasks import leftovers

log = logging.getLogger(__name__)
TREES = "build-"  # the keys of steps' writable trees begin so


def _bundles(top: Path) -> list[Path]:
    try:
        memory.check(top)
    except Forbidden as error:  # steps are refused; a daemon has to start
        log.warning("%s", error)
        return []
    return sorted(top.iterdir()) if top.is_dir() else []


def sweep(root: Path, top: Path, runs: Path, trees: TreeStore) -> list[str]:
    """End steps that still run, and remove their directories: `root` is the builds' in the data root, `top` the one
    in memory, `runs` that of supervisors. What was done, one line each."""
    said: list[str] = []
    for bundle in _bundles(top):
        run = runs / bundle.name
        try:
            if leftovers.supervised(run):
                leftovers.kill(bundle)
                leftovers.ended(run)
        except (CortenError, OSError) as error:
            said.append(f"step {bundle.name} could not be ended: {error}")
        said += [f"step {bundle.name}: {what}" for what in leftovers.remove(run, bundle)]
        tree.erase(bundle)
        said.append(f"step {bundle.name}: its directory")
    memory.leave(top)
    for path in sorted((root / "steps").iterdir()) if (root / "steps").is_dir() else ():
        tree.erase(path)
    for key in [key for key in trees.keys(committed=False) if key.startswith(TREES)]:
        trees.remove(key)
        said.append(f"writable tree {key}")
    for line in said:
        log.warning("sweep: %s", line)
    return said
