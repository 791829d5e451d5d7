"""Images that are too large to make for each run: made once for a machine, and kept in a directory of their own.

DIRECTORY/NAME/archive.tar   as `docker save` writes it, layers uncompressed
DIRECTORY/NAME/layout        the same as an OCI layout, layers gzipped by skopeo
DIRECTORY/NAME/facts.json    how large it is
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from bench import commands
from bench.measure import Failed

DIRECTORY = Path("/var/cache/corten-bench")
SUITE = "bookworm"
PACKAGES = "build-essential,python3"
_MB = 1_000_000
_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Facts:
    """Sizes in bytes: of the layers' tars, and of what a registry serves. `files` are all entries of the tars."""

    unpacked: int
    compressed: int
    files: int
    layers: int


@dataclass(frozen=True, slots=True)
class Kept:
    """One image that is there."""

    name: str
    place: Path
    facts: Facts

    @property
    def repository(self) -> str:
        return f"bench/{self.name}"

    @property
    def archive(self) -> Path:
        return self.place / "archive.tar"

    @property
    def layout(self) -> str:
        """As skopeo names it."""
        return f"oci:{self.place / 'layout'}:latest"

    def biggest_blob(self) -> Path:
        return max((self.place / "layout/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)

    def description(self) -> str:
        facts = self.facts
        layers = "one layer" if facts.layers == 1 else f"{facts.layers} layers"
        sizes = f"{facts.unpacked / _MB:.0f} MB, {facts.compressed / _MB:.0f} MB compressed"
        return f"{TITLES[self.name]}: {sizes}, {facts.files:,} files, {layers}"


def find(name: str, directory: Path) -> Kept:
    """Raises Failed where it was not made."""
    try:
        facts = json.loads((directory / name / "facts.json").read_text())
    except FileNotFoundError:
        raise Failed(f"there is no image {name!r} in {directory}") from None
    return Kept(name, directory / name, Facts(**facts))


def make(name: str, directory: Path) -> None:
    """Make the image unless it is there. Raises Failed, and nothing is left of it, where a step fails."""
    if (directory / name / "facts.json").exists():
        return
    part = directory / f"{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        layers = [_layer(part, number, fill) for number, fill in enumerate(LAYERS[name])]
        files = sum(_entries(layer) for layer in layers)
        unpacked = sum(layer.stat().st_size for layer in layers)
        _archive(part / "archive.tar", layers, f"bench/{name}:latest")
        for layer in layers:
            layer.unlink()
        source, target = f"docker-archive:{part / 'archive.tar'}", f"oci:{part / 'layout'}:latest"
        commands.run(["skopeo", "copy", "-q", "--insecure-policy", source, target], seconds=_SECONDS)
        compressed = sum(path.stat().st_size for path in (part / "layout/blobs/sha256").iterdir())
        facts = Facts(unpacked, compressed, files, len(layers))
        (part / "facts.json").write_text(json.dumps(asdict(facts)))
        part.rename(directory / name)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _layer(part: Path, number: int, fill: Callable[[Path], None]) -> Path:
    tree, tar = part / "tree", part / f"{number}.tar"
    tree.mkdir()
    fill(tree)
    commands.run(["tar", "--sort=name", "--numeric-owner", "-C", str(tree), "-cf", str(tar), "."], seconds=_SECONDS)
    shutil.rmtree(tree)
    return tar


def _entries(layer: Path) -> int:
    with tarfile.open(layer) as tar:
        return sum(1 for _ in tar)


def _archive(path: Path, layers: Sequence[Path], reference: str) -> None:
    """What `docker save` writes (Docker image specification 1.2)."""
    with tarfile.open(path, "w") as out:
        diffs = []
        for number, layer in enumerate(layers):
            with layer.open("rb") as file:
                diffs.append(f"sha256:{file_digest(file, 'sha256').hexdigest()}")
            out.add(layer, f"{number}/layer.tar")
        config = json.dumps({
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "os": "linux", "config": {"Cmd": ["sh"]}, "rootfs": {"type": "layers", "diff_ids": diffs},
        }).encode()  # fmt: skip
        name = f"{sha256(config).hexdigest()}.json"
        tars = [f"{number}/layer.tar" for number in range(len(layers))]
        manifest = json.dumps([{"Config": name, "RepoTags": [reference], "Layers": tars}]).encode()
        for member, content in ((name, config), ("manifest.json", manifest)):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))


def _debian(tree: Path) -> None:
    """A system with a compiler; debootstrap has its own mirror."""
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(tree)]
    commands.run(command, seconds=_SECONDS)
    for place in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(tree / place)
        (tree / place / "partial").mkdir(parents=True)


def _noise(tree: Path) -> None:
    for number in range(200):
        place = tree / "srv" / f"{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}").write_bytes(os.urandom(1 << 20))


def _two_files(tree: Path) -> None:
    for name in ("one", "two"):
        with (tree / name).open("wb") as out:
            for _ in range(500):
                out.write(os.urandom(_MB))


LAYERS: dict[str, Sequence[Callable[[Path], None]]] = {"debian": (_debian, _noise), "twofiles": (_two_files,)}
TITLES = {
    "debian": "Debian with a compiler and Python, and 200 MB of noise in a layer above",
    "twofiles": "two files of noise",
}
