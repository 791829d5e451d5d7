"""A `Worker` without namespaces: a step's tree is a plain directory, and a RUN is a program of this machine with that
as its directory.

What it cannot do: a program sees this machine's files, not the tree's, so that its arguments have to be relative paths;
there are no users, mounts, networks and limits; of patterns only the shell's. `began` are the steps in the order of
their beginnings, for tests that count them.
"""

from __future__ import annotations

import asyncio
import glob
import hashlib
import io
import os
import shutil
import signal
import stat
import tarfile
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from isal import igzip

from corten.build.contract import (
    Client,
    CopyStep,
    Layer,
    Matched,
    RunStep,
    SourceTree,
    StageTree,
    StepFailed,
    Terminal,
    Tree,
)
from corten.errors import NotFound, Unsupported
from corten.images.chain import sync_and_commit
from corten.images.store import ImageStore
from corten.layers.inventory import inventory
from corten.spec.digest import of
from corten.spec.oci_image import OCI_LAYER, Descriptor, chain_ids
from corten.spec.packages.package import Inventory
from corten.store.leases import Lease

Look = dict[str, tuple[str, str]]  # path to what it is and what it has


class FakeWorker:
    """Of one build: what it makes is leased by `lease`."""

    def __init__(self, store: ImageStore, lease: Lease, began: list[RunStep | CopyStep]) -> None:
        self._store = store
        self._lease = lease
        self.began = began

    async def shell(self, parent: Sequence[str], step: RunStep, client: Client, terminal: Terminal) -> None:
        raise Unsupported("there are no terminals here")

    async def run(
        self, parent: Sequence[str], step: RunStep, client: Client, output: Callable[[int, bytes], None]
    ) -> Layer:
        self.began.append(step)

        async def work(root: Path) -> None:
            env = dict(entry.partition("=")[::2] for entry in step.env)
            where = root / step.cwd.lstrip("/")
            where.mkdir(parents=True, exist_ok=True)
            process = await asyncio.create_subprocess_exec(
                *step.args,
                cwd=where,
                env=env,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                assert process.stdout is not None
                while data := await process.stdout.read(1 << 16):
                    output(1, data)
                if status := await process.wait():
                    raise StepFailed(step.args, status)
            finally:
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()

        return await self._layer(parent, work)

    async def copy(self, parent: Sequence[str], step: CopyStep) -> Layer:
        self.began.append(step)

        async def work(root: Path) -> None:
            target = root / step.target.strip("/")
            if not step.sources:
                target.mkdir(parents=True, exist_ok=True)
            for source in step.sources:
                with self._directory(source.tree) as directory:
                    _copy(source, Path(directory), target, step.target.endswith("/"))

        return await self._layer(parent, work)

    async def checksum(self, source: Matched, exclude: Sequence[str] = (), parents: bool = False) -> str:
        with self._directory(source.tree) as directory:
            root = Path(directory)
            found = [(str(path.relative_to(root)), _look(path)) for path in _matches(source, root)]
        return of(repr((found, source.content)).encode())

    async def packages(self, parent: Sequence[str]) -> Inventory:
        with self._directory(StageTree(chain_ids(tuple(parent))[-1] if parent else None)) as directory:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                return inventory(fd)
            finally:
                os.close(fd)

    # ------------------------------------------------------------------------------------------------------- layers

    async def _layer(self, parent: Sequence[str], work: Callable[[Path], Awaitable[None]]) -> Layer:
        """What `work` changes in the tree that `parent` leads to."""
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            self._fill(root, chain_ids(tuple(parent))[-1] if parent else None)
            before = _look(root)
            await work(root)
            after = _look(root)
            data = _tar(root, before, after)
        content = of(repr(sorted(after.items() - before.items()) + sorted(before.keys() - after.keys())).encode())
        return await self._kept(parent, data, content) if before != after else Layer("", "", content, 0, None)

    async def _kept(self, parent: Sequence[str], data: bytes, content: str) -> Layer:
        diff = "sha256:" + hashlib.sha256(data).hexdigest()
        packed = igzip.compress(data, 1)
        blob = Descriptor(OCI_LAYER + "+gzip", of(packed), len(packed))
        chain = chain_ids((*parent, diff))
        self._lease.add("blob", blob.digest)
        self._lease.add("snapshot", chain[-1])
        self._store.blobs.put(packed)
        trees = self._store.trees
        if not trees.tree_store.has(chain[-1]):
            below = chain[-2] if len(chain) > 1 else None
            with trees.tree_store.syncing() as sync:
                unpacked = await self._store.unpacker.unpack(blob.digest, diff, lambda done: None)
                sync_and_commit(trees, unpacked, chain[-1], below, sync)
        return Layer(diff, chain[-1], content, trees.tree_store.size(chain[-1]), blob)

    def _fill(self, root: Path, top: str | None) -> None:
        """`root` with the content of a tree, lowest layer first."""
        tree_store = self._store.trees.tree_store
        for tree in reversed(tree_store.lineage(top) if top is not None else []):
            for path in sorted(tree_store.files(tree).rglob("*")):
                place = root / path.relative_to(tree_store.files(tree))
                status = path.lstat()
                if stat.S_ISCHR(status.st_mode):
                    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
                elif stat.S_ISDIR(status.st_mode):
                    place.mkdir(exist_ok=True)
                    place.chmod(status.st_mode & 0o7777)
                else:
                    place.unlink(missing_ok=True)
                    shutil.copy2(path, place, follow_symlinks=False)

    def _directory(self, tree: Tree | None) -> tempfile.TemporaryDirectory[str]:
        """A copy of a tree's files."""
        made = tempfile.TemporaryDirectory()
        if isinstance(tree, StageTree):
            self._fill(Path(made.name), tree.top)
        elif isinstance(tree, SourceTree):
            shutil.copytree(tree.directory, made.name, symlinks=True, dirs_exist_ok=True)
        return made


def _matches(source: Matched, root: Path) -> list[Path]:
    found: list[Path] = []
    for pattern in source.paths:
        if pattern in source.content:
            continue
        names = sorted(glob.glob(pattern.strip("/") or ".", root_dir=root, include_hidden=True))
        if not names and not any(char in pattern for char in "*?["):
            shown = "/" + pattern.strip("/")
            raise NotFound(f'failed to calculate checksum of ref {source.tree and "tree"}: "{shown}": not found')
        found += [root / name for name in names]
    return found


def _copy(source: Matched, root: Path, target: Path, directory: bool) -> None:
    for name, data in source.content.items():
        target.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    for path in _matches(source, root):
        if path.is_dir():
            shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
            continue
        place = target / path.name if directory or target.is_dir() else target
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)


def _look(root: Path) -> Look:
    """Everything at and below `root`, without times."""
    found: Look = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        kind = stat.filemode(status.st_mode)
        name = str(path.relative_to(root))
        if stat.S_ISREG(status.st_mode):
            found[name] = (kind, of(path.read_bytes()))
        elif stat.S_ISLNK(status.st_mode):
            found[name] = (kind, os.readlink(path))
        else:
            found[name] = (kind, "")
    return found


def _tar(root: Path, before: Look, after: Look) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, what in after.items():
            if name != "." and before.get(name) != what:
                info = tar.gettarinfo(root / name, name)
                info.uid = info.gid = 0
                with (root / name).open("rb") if info.isreg() else io.BytesIO() as file:
                    tar.addfile(info, file if info.isreg() else None)
        gone = before.keys() - after.keys()
        for name in sorted(gone):
            head, _, last = name.rpartition("/")
            if head in gone:  # with all that is in it
                continue
            tar.addfile(tarfile.TarInfo(f"{head}/.wh.{last}" if head else f".wh.{last}"))
    return buffer.getvalue()
