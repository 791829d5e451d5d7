"""The engine's records at one moment: the owner of every path on the disk."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from corten.engine.containers import records as container_records
from corten.engine.containers.containers import Containers
from corten.engine.volumes import DISK, Volumes
from corten.images.collect import RESUMABLE
from corten.images.store import ImageStore
from corten.images.view import familiar
from corten.machines import records as machine_records
from corten.snapshots.guest_disks import is_empty_disk
from corten.spec import digest as digests
from corten.storage.account import Item
from corten.store.images import ImageRecord


@dataclass(frozen=True, slots=True)
class Known:
    """`needed` is digest to the images that have this blob, `cached` blobs and trees that only the cache of builds
    keeps, `in_flight` blobs and parts of pulls that run or can be resumed, `trees` directory to key ("" for drafts),
    `guest_images` names of files to the tree that each is the image of ("" while it is made), `guest_disks` names of
    those that are being made, `disks` volumes that are disks to the name of the file, `writable` keys of trees that
    are no layers, `machines` their ids, `containers` and `images` id to name,
    `going` those of the containers that are being erased, `creating` those that are being made, `stuck` paths of what
    was removed and could not be erased, with the error."""

    records: tuple[ImageRecord, ...]
    images: dict[str, str]
    needed: dict[str, list[str]]
    cached: frozenset[str]
    in_flight: frozenset[str]
    trees: dict[str, str]
    guest_images: dict[str, str]
    guest_disks: frozenset[str]
    writable: frozenset[str]
    containers: dict[str, str]
    going: frozenset[str]
    creating: frozenset[str]
    volumes: frozenset[str]
    disks: dict[str, str]
    machines: frozenset[str]
    stuck: dict[str, str]


def known(root: Path, containers: Containers, volumes: Volumes, store: ImageStore) -> Known:
    """Take the records. To be called in the event loop: without an await in it, nothing begins or ends meanwhile."""
    records = tuple(store.records.all())
    names = store.records.names()
    needed: dict[str, list[str]] = {}
    for record in records:
        for digest in record.kept:
            needed.setdefault(digest, []).append(record.id)
    tree_store, guest_images = store.trees.tree_store, containers.stores.guest_images
    listed = containers.table.list(container_records.KIND)
    return Known(
        records,
        {record.id: _shown(record.id, names.get(record.id)) for record in records},
        needed,
        _cached(store, records, needed),
        _in_flight(store, needed),
        tree_store.owners(),
        guest_images.files.owners(tree_store.keys(True), guest_images.making),
        frozenset(containers.stores.guest_disks.making),
        frozenset(tree_store.keys(False)),
        {id: str(body.get("name") or id) for id, body in listed.items()}
        | {id: container.record.name for id, container in ((c.id, c) for c in containers.every())},
        frozenset(id for id, body in listed.items() if _status(body.get("state")) == "removing"),
        frozenset(container.id for container in containers.creating.values()),
        frozenset(volume.name for volume in volumes.list()),
        {v.name: f"disk.{v.options.get('format', 'qcow2')}" for v in volumes.list() if v.driver == DISK},
        frozenset(containers.table.list(machine_records.KIND)),
        {
            f"{trash.path.relative_to(root)}/{name}": error
            for trash in (tree_store.trash, volumes.trash, guest_images.files.trash)
            for name, error in trash.stuck.items()
        },
    )


def _status(state: object) -> object:
    """None of a record that cannot be read."""
    return state.get("status") if isinstance(state, dict) else None


def _shown(id: str, names: tuple[list[str], list[str]] | None) -> str:
    tags, by_digest = names or ([], [])
    return familiar([*tags, *by_digest][0]) if tags or by_digest else id


def _cached(store: ImageStore, records: tuple[ImageRecord, ...], needed: dict[str, list[str]]) -> frozenset[str]:
    kept = store.collector.kept
    of_images = {name for record in records for name in record.chain}
    return frozenset((kept.blobs() - needed.keys()) | (kept.trees() - of_images))


def _in_flight(store: ImageStore, needed: dict[str, list[str]]) -> frozenset[str]:
    limit = time.time() - RESUMABLE
    kept = store.collector.kept.blobs()
    others = [digest for digest in store.blobs.list() if digest not in needed and digest not in kept]
    young = {digest for digest in others if store.blobs.time(digest) > limit}
    young |= store.collector.in_removal.keys() & set(others)
    parts = {name for name, written in store.blobs.parts() if written > limit or name in store.blobs.in_use}
    return frozenset(young | store.leases.held("blob", others) | parts)


def attribute(item: Item, now: Known) -> None:
    """Give `item` its kind and its owner. Without an owner it is `unknown`."""
    match item.place:
        case "blob":
            digest = f"{item.path.split('/')[2]}:{item.name}"
            if digests.is_digest(digest):
                partial = digest in now.in_flight and digest not in now.needed
                kind = "builds" if digest in now.cached else "partial" if partial else "blobs"
                item.kind, item.owner = kind, digest
            else:
                item.kind = "unknown"
        case "part":
            item.kind = "partial"
        case "tree":
            key = now.trees.get(item.name)
            item.owner = key or ""
            item.kind = (
                "unknown" if key is None else "partial" if not key else
                "containers" if key in now.writable else "builds" if key in now.cached else "layers"
            )  # fmt: skip
        case "guest image":
            tree = now.guest_images.get(item.name)
            item.owner = tree or ""
            item.kind = "unknown" if tree is None else "guests" if tree else "partial"
        case "guest disk":
            made, making = is_empty_disk(item.name), item.name in now.guest_disks
            item.kind = "guests" if made else "partial" if making else "unknown"
        case "bundle" | "log":
            item.kind = "unknown" if item.name not in now.containers else _OF_CONTAINERS[item.place]
            item.owner = item.name
        case "volume":
            item.kind, item.owner = ("volumes" if item.name in now.volumes else "unknown"), item.name
        case "machine":
            item.kind, item.owner = ("machines" if item.name in now.machines else "unknown"), item.name
        case place:
            item.kind = place


_OF_CONTAINERS = {"bundle": "containers", "log": "logs"}
