"""What `--privileged` and `--device DIRECTORY` give of the host."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.daemon.facts import host_devices, no_passthrough
from corten.layers import tree


@pytest.fixture
def deep() -> Iterator[Path]:
    """A directory in /dev/shm, where each user of the host makes some, 3,000 levels deep: no path leads to its end."""
    root = tempfile.mkdtemp(dir="/dev/shm")
    here = os.open(root, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("dd", dir_fd=here)
        below = os.open("dd", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    yield Path(root)
    fd = os.open("/dev/shm", os.O_RDONLY)
    tree.remove(fd, os.fsencode(os.path.basename(root)))
    os.close(fd)


def test_all_of_the_host_are_found_beside_a_deep_directory(deep: Path) -> None:
    assert "/dev/null" in {node.path for node in host_devices("/dev")}


def test_devices_of_a_deep_directory(deep: Path) -> None:
    os.symlink("/dev/zero", deep / "dd/dd/zero")
    os.symlink("/dev", deep / "dd/circle")
    assert host_devices(str(deep)) == []  # what lies in /dev/shm is no device of the host


def test_devices_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    os.symlink("/dev/zero", tmp_path / "below/zero")
    os.symlink("/dev", tmp_path / "below/circle")
    (tmp_path / "file").touch()
    assert [(node.path, node.type, node.major, node.minor) for node in host_devices(str(tmp_path))] == [
        (f"{tmp_path}/below/zero", "c", 1, 5)
    ]


def test_what_the_host_lacks_for_passing_a_device_to_a_guest(tmp_path: Path) -> None:
    root = f"{tmp_path}/"
    assert "no IOMMU" in no_passthrough(root)
    (tmp_path / "sys/kernel/iommu_groups").mkdir(parents=True)
    assert "no IOMMU" in no_passthrough(root)
    (tmp_path / "sys/kernel/iommu_groups/0").mkdir()
    assert "no VFIO" in no_passthrough(root)
    (tmp_path / "dev/vfio").mkdir(parents=True)
    (tmp_path / "dev/vfio/vfio").touch()
    assert no_passthrough(root) == "guests are given none"
