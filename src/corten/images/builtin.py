"""Images for machines with neither a network nor a registry, made from what they have: `corten/busybox` from their
static busybox, `corten/registry` from their Python and our server (registry_image.py).

They are ordinary images with one layer, and the same files always give the same digest. Their files are our own, so
they are applied here and not by a worker. That takes a while, so only a pull and the making of a container ask for it.
"""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from corten.errors import NotFound, Unsupported
from corten.images import keep as image_keep
from corten.images import registry_image
from corten.images.store import ImageStore
from corten.layers import write
from corten.layers.apply import Applied, apply
from corten.layers.entries import Limits
from corten.layers.header import DIRECTORY, LINK, REGULAR, SYMLINK
from corten.layers.source import Source
from corten.spec import digest as digests
from corten.spec import oci_image, platform
from corten.spec.image_config import History, ImageConfig, RootFS
from corten.spec.oci_image import Descriptor, Manifest
from corten.spec.reference import Reference

REFERENCE = Reference("docker.io", "corten/busybox", "latest")
MADE_OF = {REFERENCE: "static busybox", registry_image.REFERENCE: "Python and registry server"}
PLACES = ("/bin/busybox", "/usr/bin/busybox.static", "/usr/bin/busybox", "/bin/busybox.static")
_MAX_BINARY = 64 << 20
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DIRECTORIES = (
    ("bin", 0o755), ("dev", 0o755), ("etc", 0o755), ("home", 0o755), ("proc", 0o755), ("root", 0o700),
    ("run", 0o755), ("sys", 0o755), ("tmp", 0o1777), ("usr", 0o755), ("usr/bin", 0o755), ("usr/sbin", 0o755),
    ("var", 0o755), ("var/spool", 0o755), ("var/spool/mail", 0o755), ("var/tmp", 0o1777), ("var/www", 0o755),
)  # fmt: skip
_FILES = (
    ("etc/group", 0o644, "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nmail:x:8:\n"
     "kmem:x:9:\nwheel:x:10:root\ncdrom:x:11:\ndialout:x:18:\nwww-data:x:33:\nutmp:x:43:\naudio:x:29:\nvideo:x:28:\n"
     "plugdev:x:46:\nstaff:x:50:\nusers:x:100:\nnogroup:x:65534:\n"),
    # A container's own are mounted here; made in the image they need not be made in each container.
    ("etc/hostname", 0o644, ""), ("etc/hosts", 0o644, ""), ("etc/resolv.conf", 0o644, ""),
    ("etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"),
    ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
     "bin:x:2:2:bin:/bin:/bin/false\nsys:x:3:3:sys:/dev:/bin/false\nmail:x:8:8:mail:/var/spool/mail:/bin/false\n"
     "www-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"),
    ("etc/shadow", 0o640, "root:*:::::::\nnobody:*:::::::\n"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recipe:
    """`pieces` may be asked for again, and gives the same tar each time; `config` is an image configuration's."""

    pieces: Callable[[], Iterator[bytes]]
    config: Mapping[str, object]
    created: int  # seconds since the epoch
    made_of: str


class Builtin:
    """Makes the images, each once. Thread-safe."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._places = PLACES

    def ensure(self, reference: Reference = REFERENCE) -> str:
        """The image's id; it is made and tagged when this returns.

        Raises NotFound or Unsupported when this machine lacks what it is made of.
        """
        with self._lock:
            known = self._store.records.by_tag(str(reference))
            return known if known is not None else self._remake(reference)

    def complete(self, reference: Reference) -> tuple[str, bool]:
        """What `pull` does: the image's id, and whether it was made, or made again because parts of it were missing.

        Raises as `ensure`.
        """
        with self._lock:
            known = self._store.records.by_tag(str(reference))
            if known is not None and self._is_whole(known):
                return known, False
            return self._remake(reference), True

    def _is_whole(self, id: str) -> bool:
        """A repair puts damaged blobs aside, and what is built in comes from no registry."""
        record = self._store.records.get(id)
        has_tree = self._store.trees.tree_store.has
        return record is not None and all(map(self._store.blobs.has, record.blobs)) and all(map(has_tree, record.chain))

    def _remake(self, reference: Reference) -> str:
        return self._make(reference, self._busybox() if reference == REFERENCE else _registry())

    def _busybox(self) -> Recipe:
        binary, mtime = find(self._places)
        applets = _applets(binary)
        config = {"Env": [_PATH], "Cmd": ["sh"], "WorkingDir": "/"}
        return Recipe(lambda: layer(binary.read_bytes(), applets, mtime), config, mtime, MADE_OF[REFERENCE])

    def _make(self, reference: Reference, recipe: Recipe) -> str:
        hasher, size = hashlib.sha256(), 0
        for piece in recipe.pieces():
            hasher.update(piece)
            size += len(piece)
        with self._store.leases.hold() as lease:
            blob = Descriptor(oci_image.OCI_LAYER, f"sha256:{hasher.hexdigest()}", size)
            config = _config(blob.digest, recipe)
            manifest = Manifest(
                oci_image.OCI_MANIFEST, Descriptor(oci_image.OCI_CONFIG, digests.of(config), len(config)), (blob,)
            )
            body = oci_image.render_manifest(manifest.config, manifest.layers)
            lease.add("blob", blob.digest, manifest.config.digest, digests.of(body))
            lease.add("snapshot", blob.digest)
            self._put(blob.digest, recipe.pieces())
            for data in (config, body):
                self._store.blobs.put(data)
            if not self._store.trees.tree_store.has(blob.digest):
                self._apply(blob.digest)
            image = image_keep.plan(manifest, digests.of(body), config)
            digest_name = f"{reference.name}@{image.manifest}"
            before = image_keep.record(self._store, image, [str(reference)], [digest_name])
            self._store.collector.discard(before)
        return image.id

    def _put(self, digest: str, pieces: Iterator[bytes]) -> None:
        """Store a blob without having it in memory as a whole. Raises Corrupt when its files have changed meanwhile."""
        if self._store.blobs.has(digest):
            return
        ingest = self._store.blobs.ingest(digest)
        try:
            ingest.restart()
            for piece in pieces:
                ingest.write(piece)
            ingest.commit()
        except BaseException:
            ingest.abort()
            raise

    def _apply(self, diff_id: str) -> None:
        draft = self._store.trees.receive()
        try:
            with self._store.trees.tree_store.syncing() as sync:
                applied = _apply_blob(self._store.blobs.open(diff_id), draft.path)
                sync()
        except BaseException:
            self._store.trees.discard(draft)
            raise
        self._store.trees.commit(draft, diff_id, None, applied.size, applied.implied, applied.links)


def _apply_blob(source: int, tree: Path) -> Applied:
    try:
        root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return apply(root, Source(source), Limits())
        finally:
            os.close(root)
    finally:
        os.close(source)


def find(places: tuple[str, ...] = PLACES) -> tuple[Path, int]:
    """The machine's static busybox and its time of change in seconds. Raises NotFound, with the remedy."""
    for place in places:
        path = Path(place)
        if path.is_file() and _is_static(path):
            return path, int(path.stat().st_mtime)
    raise NotFound(
        "No such image: corten/busybox:latest (it is made from a static busybox, and this machine has none; "
        "install the package busybox-static)"
    )


def _is_static(path: Path) -> bool:
    """No PT_INTERP among an ELF file's program headers (elf(5)): it runs in a tree without libraries."""
    with path.open("rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:5] != b"\x7fELF\x02":
            return False
        (offset,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        if size < 56 or count > 128:
            return False
        file.seek(offset)
        table = file.read(size * count)
    return all(struct.unpack_from("<I", table, at)[0] != 3 for at in range(0, len(table) - 3, size))


def _applets(binary: Path) -> list[str]:
    """What it can be called as. It names them itself: an applet is a name without a slash."""
    done = subprocess.run([binary, "--list"], capture_output=True, timeout=10, check=False, env={}, text=True)
    names = sorted({name for name in done.stdout.split() if "/" not in name} - {"busybox"})
    if done.returncode or not names:
        raise Unsupported(f"{binary} does not list its applets: {done.stderr.strip()[:200]}")
    return names


def layer(busybox: bytes, applets: list[str], mtime: int) -> Iterator[bytes]:
    """The layer's tar. Applets are hard links, as in Docker's busybox image."""
    at = mtime * 10**9
    yield write.header(b"./", DIRECTORY, mode=0o755, mtime=at)
    for name, mode in _DIRECTORIES:
        yield write.header(name.encode() + b"/", DIRECTORY, mode=mode, mtime=at)
    files = [("bin/busybox", 0o755, busybox), *((name, mode, text.encode()) for name, mode, text in _FILES)]
    for name, mode, data in files:
        yield write.header(name.encode(), REGULAR, mode=mode, size=len(data), mtime=at)
        yield data
        yield write.padding(len(data))
    for applet in applets:
        yield write.header(b"bin/" + applet.encode(), LINK, mode=0o755, mtime=at, link=b"bin/busybox")
    yield write.header(b"usr/bin/env", SYMLINK, mode=0o777, mtime=at, link=b"../../bin/env")
    yield write.END


def _registry() -> Recipe:
    made = registry_image.contents()
    return Recipe(
        lambda: registry_image.layer(made), registry_image.config(made), made.newest, MADE_OF[registry_image.REFERENCE]
    )


def _config(diff_id: str, recipe: Recipe) -> bytes:
    here = platform.host()
    created = datetime.fromtimestamp(recipe.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ImageConfig(
        architecture=here.architecture,
        os=here.os,
        variant=here.variant,
        created=created,
        config=dict(recipe.config),
        rootfs=RootFS(diff_ids=(diff_id,)),
        history=(History(created, f"corten: this machine's {recipe.made_of}"),),
    ).to_bytes()
