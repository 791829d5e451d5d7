"""Disks of guests under the oldest kernel that they have, Debian 12's: the image of an image's layers, and the
container's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import kept
from corten.layers import tree
from corten.snapshots.guest_disks import GuestDisks, allocated
from corten.tasks.launcher import Launcher
from corten.tasks.workers import LauncherWorkers
from image_parts.described import described, fill
from image_parts.erofs import make
from vm import guest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")

SCRIPT = """
import os
from corten.kernel import mount
from image_parts.described import described
from guest import report
layers = mount.new("erofs", (), mount.MOUNT_ATTR_RDONLY, "/dev/vda")
report(release=os.uname().release, tree={path.hex(): repr(thing) for path, thing in described(layers).items()})
for at, fd in (("/layers", layers), ("/own", mount.new("ext4", (), 0, "/dev/vdb"))):
    os.mkdir(at)
    mount.move_to(fd, at)
    os.close(fd)
for name in ("upper", "work", "/root/merged"):
    os.mkdir(os.path.join("/own", name))
merged = mount.new("overlay", ("lowerdir=/layers", "upperdir=/own/upper", "workdir=/own/work"), 0, "overlay")
mount.move_to(merged, "/root/merged")
os.close(merged)
os.chdir("/root/merged")
hidden = not os.path.lexists("whiteout")
with open("of 5000", "ab") as file:
    file.write(b"more")
os.unlink("of 1")
os.setxattr("of 2560", "user.same", b"another")
os.sync()
report(hidden=hidden, upper=sorted(os.listdir("/own/upper")), size=os.stat("of 5000").st_size)
os.chdir("/")
mount.unmount("/root/merged")
mount.unmount("/own")
"""


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[GuestDisks]:
    if not shutil.which("mke2fs", path="/usr/sbin:/sbin"):
        pytest.skip("mke2fs is missing (Debian package e2fsprogs)")
    launcher = Launcher(tmp_path / "launcher.log")
    launcher.start()
    yield GuestDisks(tmp_path / "disks", LauncherWorkers(launcher).make_disk)
    launcher.close()
    assert (tmp_path / "launcher.log").read_text() == ""


async def test_a_guest_has_them_as_its_root(tmp_path: Path, disks: GuestDisks) -> None:
    if lacking := guest.missing():
        pytest.skip(lacking)
    source, image = tmp_path / "source", tmp_path / "image"
    source.mkdir()
    fill(source)
    make(source, image)
    os.close(await disks.disk(tmp_path))
    before = allocated(tmp_path)
    machine = guest.Guest(
        kept.directory() / "vm", disks=(image, tmp_path / "disk.ext4"), modules=("erofs",), processors=1
    )
    parts = Path(__file__).parents[1] / "image_parts" / "described.py"
    found, merged, ended = machine.run(SCRIPT, {"/guest/image_parts/described.py": parts})
    assert ended == {"exit": 0}, ended
    assert found["release"].startswith("6.1."), "this is about blocks of 4096 bytes"
    top = tree.open_directory(os.fsencode(source))
    try:
        expected = {path.hex(): repr(thing) for path, thing in described(top).items()}
    finally:
        os.close(top)
    for path in expected.keys() | found["tree"].keys():
        assert found["tree"].get(path) == expected.get(path), bytes.fromhex(path)
    assert merged == {"hidden": True, "upper": ["of 1", "of 2560", "of 5000"], "size": 5004}
    checked = subprocess.run(["/usr/sbin/e2fsck", "-fn", tmp_path / "disk.ext4"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert allocated(tmp_path) < before + (4 << 20), "a guest writes no zeros to what is empty"
