"""Trees of containers as helpers see them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.kernel import mount as m
from corten.layers.pack import Packer
from corten.supervisor import views

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


@pytest.fixture(params=["view", "bind", "overlay"])
def view(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    tree, upper, work = (tmp_path / name for name in ("tree", "upper", "work"))
    for path in (tree, upper, work):
        path.mkdir()
    os.mknod(tree / "device", stat.S_IFCHR | 0o666, os.makedev(1, 8))
    (tree / "file").write_text("content")
    layers = [f"lowerdir={tree}", f"upperdir={upper}", f"workdir={work}"]
    fd = {
        "view": lambda: m.view(-100, str(tree)),
        "bind": lambda: views.of_mount({"type": "bind", "source": str(tree), "destination": "/", "options": ["rbind"]}),
        "overlay": lambda: views.of_mount({"type": "overlay", "destination": "/", "options": layers}),
    }[request.param]()
    yield fd
    os.close(fd)


def test_devices_are_made_and_not_opened(view: int) -> None:
    os.mknod("made", stat.S_IFCHR | 0o666, os.makedev(1, 8), dir_fd=view)
    for name in ("made", "device"):
        assert os.stat(name, dir_fd=view).st_rdev == os.makedev(1, 8)
        with pytest.raises(PermissionError):
            os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=view)


def test_nothing_lies_above(view: int) -> None:
    above = os.open("../../../..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=view)
    try:
        assert "device" in os.listdir(above)
    finally:
        os.close(above)


def test_a_file_that_has_become_a_device_is_left_out(view: int, tmp_path: Path) -> None:
    """Every container may make nodes: what was a file when it was looked at may be one now."""
    looked_at = os.stat("file", dir_fd=view)
    with (tmp_path / "tar").open("w+b") as out:
        packer = Packer(out.fileno())
        packer.add(view, b"device", b"device", looked_at)
        packer.end()
        assert out.read().strip(b"\0") == b""
