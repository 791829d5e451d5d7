"""An `Images` on a directory of its own, and images for it to pull."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from corten.build.cache.cache import Cache
from corten.images.images import Images, no_users
from corten.images.unpack import Workers
from corten.registry.client.registry import Registry
from corten.registry.client.web import STALL
from corten.snapshots.guest_images import ImageFiles
from corten.snapshots.overlay import Overlay
from corten.spec import oci_image, platform
from corten.store.blobs import Blobs
from corten.store.database import Database
from corten.store.records import Records

from . import tars
from .workers import ForkWorkers

BOTTOM = tars.archive(tars.directory("etc"), tars.file("etc/os", b"bottom"), tars.file("gone"))
TOP = tars.archive(tars.file("etc/more", b"top"), tars.file(".wh.gone", b""))


class Store:
    """Everything below `Images`, on `root`; can be closed and opened again on the same directory."""

    def __init__(self, root: Path, workers: Workers | None = None, users: Any = no_users, stall: float = STALL) -> None:
        root.mkdir(exist_ok=True)
        self.root = root
        self.database = Database(root / "corten.db")
        self.blobs = Blobs(root / "content")
        self.image_files = ImageFiles(root / "vm" / "layers")
        self.trees = Overlay(root / "snapshots", Records(self.database), removed=self.image_files.remove)
        self.registry = Registry(self.blobs, pause=0.01, stall=stall)
        self.events: list[tuple[str, str, dict[str, str]]] = []
        below = (self.database, self.blobs, self.trees, workers or ForkWorkers(), self.registry)
        self.cache = Cache(Records(self.database))
        self.images = Images(*below, users, on_event=lambda *event: self.events.append(event), kept=self.cache)
        self.images.recover()

    async def close(self) -> None:
        await self.images.close()
        self.trees.tree_store.close()
        self.database.close()

    def leftovers(self) -> list[str]:
        """Blobs, parts and trees on disk, for tests that need none."""
        self.trees.tree_store.close()
        return sorted(
            str(path.relative_to(self.root))
            for pattern in ("content/blobs/*/*", "content/ingest/*", "snapshots/*", "snapshots/.trash/*")
            for path in self.root.glob(pattern)
            if path.name != ".trash"
        )


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Made:
    """An image as blobs: manifest, configuration, layers (gzip)."""

    def __init__(self, tars: Sequence[bytes], architecture: str = "", config: dict[str, Any] | None = None) -> None:
        here = platform.host()
        self.layers = [gzip.compress(tar, 1, mtime=0) for tar in tars]
        document = {
            "architecture": architecture or here.architecture,
            "os": "linux",
            "config": config or {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in tars]},
        }
        self.config = json.dumps(document).encode()
        kinds = [oci_image.OCI_LAYER + "+gzip"] * len(self.layers)
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": oci_image.OCI_MANIFEST,
                "config": entry(oci_image.OCI_CONFIG, self.config),
                "layers": [entry(kind, layer) for kind, layer in zip(kinds, self.layers)],
            }
        ).encode()

    @property
    def blobs(self) -> dict[str, bytes]:
        return {digest(data): data for data in (self.config, *self.layers)}


def entry(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest(data), "size": len(data)}


async def collect(messages: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message async for message in messages]


async def body(data: bytes, piece: int = 1 << 16) -> AsyncIterator[bytes]:
    for at in range(0, len(data), piece):
        yield data[at : at + piece]


def texts(messages: list[dict[str, Any]]) -> list[str]:
    """What messages say, each with its id, but for progress."""
    return [
        m["status"] + (f" {m['id']}" if "id" in m else "")
        for m in messages
        if m["status"] not in ("Extracting", "Downloading")
    ]


def docker_archive(image: Made, names: list[str], linked: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        layers = []
        for number, layer in enumerate(image.layers):
            add(f"{number}/layer.tar", gzip.decompress(layer))
            layers.append(f"{number}/layer.tar")
            if linked:
                info = tarfile.TarInfo(f"l{number}/layer.tar")
                info.type, info.linkname = tarfile.SYMTYPE, f"../{number}/layer.tar"
                archive.addfile(info)
                layers[-1] = info.name
        add("config.json", image.config)
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": names, "Layers": layers}]).encode())
    return buffer.getvalue()
