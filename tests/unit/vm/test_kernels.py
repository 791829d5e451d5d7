"""Which kernel is taken, and in which order its modules are loaded."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from corten.errors import NotFound, Unsupported
from corten.vm import kernels


def _kernel(directory: Path, release: str, *, library: str = "lib/modules", modules: bool = True) -> None:
    (directory / "boot").mkdir(parents=True, exist_ok=True)
    (directory / "boot" / f"vmlinuz-{release}").write_bytes(b"image")
    if modules:
        (directory / library / release / "kernel").mkdir(parents=True)


def _module(directory: Path, path: str, *depends: str) -> None:
    file = directory / path
    file.parent.mkdir(parents=True, exist_ok=True)
    data = b"\x7fELF\0version=1\0depends=" + ",".join(depends).encode() + b"\0intree=Y\0"
    file.write_bytes(
        lzma.compress(data) if path.endswith(".xz") else gzip.compress(data) if path.endswith(".gz") else data
    )


def test_the_newest_one_with_modules(tmp_path: Path) -> None:
    _kernel(tmp_path, "6.1.0-9-cloud-amd64")
    _kernel(tmp_path, "6.1.0-57-cloud-amd64")
    _kernel(tmp_path, "6.12.0", modules=False)
    (tmp_path / "boot" / "vmlinuz").symlink_to("vmlinuz-6.12.0")
    assert kernels.at(tmp_path).release == "6.1.0-57-cloud-amd64"
    _kernel(tmp_path, "6.10.0", library="usr/lib/modules")
    found = kernels.at(tmp_path)
    assert found.image == tmp_path / "boot/vmlinuz-6.10.0"
    assert found.modules == tmp_path / "usr/lib/modules/6.10.0"


def test_the_first_place_that_has_any(tmp_path: Path) -> None:
    _kernel(tmp_path / "two", "6.1.0")
    _kernel(tmp_path / "three", "6.2.0")
    assert kernels.find([tmp_path / name for name in ("one", "two", "three")]).release == "6.1.0"


def test_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no kernel for guests in .*: scripts/guest-kernel .* vm-kernel in daemon.json"):
        kernels.find([tmp_path, tmp_path / "other"])


def test_modules_behind_what_they_need(tmp_path: Path) -> None:
    _kernel(tmp_path, "6.1.0")
    directory = tmp_path / "lib/modules/6.1.0/kernel"
    _module(directory, "drivers/virtio/virtio_ring.ko")
    _module(directory, "drivers/virtio/virtio.ko.xz", "virtio_ring")
    _module(directory, "drivers/virtio/virtio-pci.ko.gz", "virtio", "virtio_ring", "built-in")
    _module(directory, "fs/other.ko")
    files = kernels.module_files(kernels.at(tmp_path))
    assert set(files) == {"virtio_ring", "virtio", "virtio_pci", "other"}
    assert kernels.in_order(files, ["virtio-pci", "virtio", "ext4"]) == ["virtio_ring", "virtio", "virtio_pci"]


def test_modules_that_need_each_other_end(tmp_path: Path) -> None:
    _kernel(tmp_path, "6.1.0")
    directory = tmp_path / "lib/modules/6.1.0/kernel"
    _module(directory, "a.ko", "b")
    _module(directory, "b.ko", "a")
    assert set(kernels.in_order(kernels.module_files(kernels.at(tmp_path)), ["a"])) == {"a", "b"}


def test_a_chain_of_any_length(tmp_path: Path) -> None:
    _kernel(tmp_path, "6.1.0")
    directory = tmp_path / "lib/modules/6.1.0/kernel"
    for index in range(1200):
        _module(directory, f"m{index}.ko", f"m{index + 1}")
    order = kernels.in_order(kernels.module_files(kernels.at(tmp_path)), ["m0"])
    assert order == [f"m{index}" for index in reversed(range(1200))]


def test_a_compression_without_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "compression", None)
    (tmp_path / "a.ko.zst").write_bytes(b"(\xb5/\xfd")
    with pytest.raises(Unsupported, match=r"a\.ko\.zst is compressed by zstd, which needs Python 3\.14"):
        kernels.content(tmp_path / "a.ko.zst")
