"""What is wrong with a store: found by comparing an account of the disk with the engine's records."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corten.images.store import ImageStore
from corten.spec.digest import short
from corten.spec.json import Json
from corten.storage.account import Item
from corten.storage.known import Known

What = Literal["blob", "layer", "tree", "part", "container", "volume", "file", "database", "guest", "disk"]
_CONTAINER = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(slots=True)
class Fault:
    """`kind`: corrupt (not what it was), missing (needed and not there), unused (whole, but nothing needs it),
    orphaned (of something without a record), unknown (of no owner).

    `name` is its name (a digest, a chain id, a container's or volume's), `path` relative to the data root. `remedy`
    says what a repair does, or what the user must do when it is not `repairable`. `done` says what was done.
    """

    kind: Literal["corrupt", "missing", "unused", "orphaned", "unknown"]
    what: What
    name: str
    path: str
    text: str
    remedy: str
    repairable: bool = True
    bytes: int = 0
    done: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.what, self.name or self.path

    def shown(self) -> Json:
        return {
            "Kind": self.kind,
            "Type": self.what,
            "Name": self.name,
            "Path": self.path,
            "Bytes": self.bytes,
            "Message": self.text,
            "Remedy": self.remedy,
            "Mendable": self.repairable,
            "Repair": self.done,
        }


def find(root: Path, store: ImageStore, items: Sequence[Item], now: Known, damaged: Mapping[str, str]) -> list[Fault]:
    """In the event loop, in one go with `known`. `damaged` says what was read and found wrong: blobs by digest, layers
    and images for guests by chain id, each with how."""
    faults = [
        *(fault for item in items if os.path.lexists(root / item.path) for fault in _of_item(item, now, damaged)),
        *_blobs(store, now, damaged),
        *_layers(store, now, damaged),
        *_containers(root, store, now),
        *_volumes(root, now),
        *_stuck(root, now),
    ]
    once = {fault.key: fault for fault in faults}
    return list(once.values())


def pull_again(now: Known, images: Sequence[str]) -> str:
    return "; ".join(f"pull or load {now.images.get(id, id)} again" for id in images)


def _of_item(item: Item, now: Known, damaged: Mapping[str, str]) -> Iterator[Fault]:
    """What is on the disk, and ought not to be, or cannot be read."""
    if item.error:
        text = f"{item.path} cannot be read: {item.error}"
        yield Fault("corrupt", "file", "", item.path, text, "see what the kernel's log says about the disk", False)
    if item.kind == "blobs" and item.owner not in now.needed:
        yield Fault(
            "unused", "blob", item.owner, item.path, f"blob {item.owner} belongs to no image", "delete it",
            bytes=item.bytes,
        )  # fmt: skip
    elif item.place == "part" and item.name not in now.in_flight:
        yield Fault(
            "unused", "part", item.name, item.path, f"download {item.name} was given up", "delete it", bytes=item.bytes
        )
    elif item.place == "tree" and item.kind == "unknown":
        yield Fault(
            "orphaned", "tree", item.name, item.path, f"tree {item.name} belongs to no layer and no container",
            "delete it", bytes=item.bytes,
        )  # fmt: skip
    elif item.place == "tree" and item.kind == "containers":
        if _CONTAINER.match(item.owner) and item.owner not in now.containers:
            yield Fault(
                "orphaned", "tree", item.owner, item.path, f"tree of container {item.owner[:12]}, which is gone",
                "delete it", bytes=item.bytes,
            )  # fmt: skip
    elif item.place == "bundle" and item.kind == "unknown":
        path = f"containers/{item.name}"
        text = f"directory of container {item.name[:12]}, which is gone"
        yield Fault("orphaned", "container", item.name, path, text, "put it into quarantine", bytes=item.bytes)
    elif item.place == "volume" and item.kind == "unknown":
        text = f"directory {item.path} is that of no volume"
        yield Fault("orphaned", "volume", item.name, item.path, text, "make a volume of it again", bytes=item.bytes)
    elif item.place in ("guest image", "guest disk") and item.kind == "unknown":
        text = f"{item.path} is of no layer and no version of ours: no guest needs it"
        yield Fault("unused", "guest", item.name, item.path, text, "delete it", bytes=item.bytes)
    elif item.kind == "guests" and item.place == "guest image" and (what := damaged.get(f"guest {item.owner}")):
        text = f"image for guests of layer {short(item.owner)} is damaged: {what}"
        remedy = "delete it: it is made again when a guest needs it"
        yield Fault("corrupt", "guest", item.name, item.path, text, remedy, bytes=item.bytes)
    elif item.kind == "unknown" and item.place != "log":
        text = f"{item.path} is nothing that the engine put there"
        yield Fault("unknown", "file", "", item.path, text, "put it into quarantine", bytes=item.bytes)


def _blobs(store: ImageStore, now: Known, damaged: Mapping[str, str]) -> Iterator[Fault]:
    for digest, images in sorted(now.needed.items()):
        named, path = ", ".join(now.images[id] for id in images), _path(digest)
        if not store.blobs.has(digest):
            text = f"blob {digest} of {named} is not there"
            if not any(digest in record.blobs for record in now.records):
                remedy = f"forget what {named} is for other platforms"
                yield Fault("missing", "blob", digest, path, text, remedy)
                continue
            yield Fault("missing", "blob", digest, path, text, pull_again(now, images), repairable=False)
        elif digest in damaged:
            text = f"blob {digest} of {named} {damaged[digest]}"
            remedy = f"put it into quarantine; then {pull_again(now, images)}"
            yield Fault("corrupt", "blob", digest, path, text, remedy, bytes=store.blobs.size(digest))
    for digest in sorted(damaged.keys() - now.needed.keys()):
        if not digest.startswith(("chain ", "guest ")) and store.blobs.has(digest):
            text = f"blob {digest} {damaged[digest]}; no image has it"
            yield Fault("corrupt", "blob", digest, _path(digest), text, "delete it", bytes=store.blobs.size(digest))


def _path(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"content/blobs/{algorithm}/{value}"


def _layers(store: ImageStore, now: Known, damaged: Mapping[str, str]) -> Iterator[Fault]:
    tree_store = store.trees.tree_store
    trees, kept = tree_store.all(), set[str]()
    for record in now.records:
        for name, layer in zip(record.chain, record.layers):
            if name in kept:
                continue
            kept.add(name)
            tree = trees.get(name)
            path = f"snapshots/{tree.directory}" if tree else ""
            shown = f"layer {short(layer.digest)} of {now.images[record.id]}"
            if tree is None or not tree_store.whole(name):
                yield Fault("missing", "layer", name, path, f"{shown} is not unpacked", "unpack it again")
            elif f"chain {name}" in damaged:
                text = f"{shown} is not what was unpacked: {damaged[f'chain {name}']}"
                yield Fault("corrupt", "layer", name, path, text, "unpack it again")
    under = tree_store.ancestors_in_use()
    for name, tree in sorted(trees.items()):
        if not tree.committed or name in kept:
            continue
        lost, path = not tree_store.files(tree).is_dir(), f"snapshots/{tree.directory}"
        if name in under and lost:
            text = f"layer {short(name)} is not there, and its image is gone; containers stand on it"
            yield Fault("missing", "layer", name, path, text, "remove these containers", repairable=False)
        elif name not in under and name not in now.cached and not _busy(store, name):
            yield Fault("unused", "layer", name, path, f"layer {short(name)} belongs to no image", "delete it")


def _busy(store: ImageStore, name: str) -> bool:
    return bool(store.leases.held("snapshot", [name])) or name in store.collector.in_removal


def _containers(root: Path, store: ImageStore, now: Known) -> Iterator[Fault]:
    tree_store = store.trees.tree_store
    trees = tree_store.all()
    for id, name in sorted(now.containers.items()):
        if id in now.going or id in now.creating:
            continue
        if not (root / "containers" / id).is_dir():
            text = f"container {name} has no directory: its log is lost"
            yield Fault("missing", "container", id, f"containers/{id}", text, "make an empty one")
        if id not in trees:
            text = f"container {name} has no tree: what it wrote is lost"
            yield Fault("missing", "tree", id, "", text, f"remove the container: corten rm {name}", repairable=False)
        elif not tree_store.files(trees[id]).is_dir():
            text = f"tree of container {name} is not there: what it wrote is lost"
            path = f"snapshots/{trees[id].directory}"
            remedy = f"remove the container: corten rm {name}"
            yield Fault("missing", "tree", id, path, text, remedy, repairable=False)


def _volumes(root: Path, now: Known) -> Iterator[Fault]:
    for name in sorted(now.volumes):
        path = f"volumes/{name}/_data"
        if name in now.disks:
            if not (root / path / now.disks[name]).is_file():
                text = f"disk {name} has lost its file: what was on it is lost"
                remedy = f"put a copy at {path}/{now.disks[name]}, or remove it: corten volume rm {name}"
                yield Fault("missing", "disk", name, f"{path}/{now.disks[name]}", text, remedy, repairable=False)
            continue
        if not (root / path).is_dir():
            text = f"volume {name} has no directory: what was in it is lost"
            yield Fault("missing", "volume", name, path, text, "make an empty one")


def _stuck(root: Path, now: Known) -> Iterator[Fault]:
    for path, error in sorted(now.stuck.items()):
        if os.path.lexists(root / path):
            text = f"{path} was removed, and cannot be erased: {error}"
            yield Fault("unused", "file", "", path, text, "erase it")
