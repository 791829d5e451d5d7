"""Detached mounts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.kernel import mount as m

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


def test_an_overlay_of_many_layers(tmp_path: Path) -> None:
    """All of them in one string are longer than fsconfig(2) takes."""
    layers = [tmp_path / f"layer-{number:04}" for number in range(100)]
    for layer in layers:
        layer.mkdir()
        (layer / layer.name).touch()
        (layer / "top").write_text(layer.name)
    fd = m.new("overlay", (f"lowerdir={':'.join(map(str, layers))}",), m.MOUNT_ATTR_RDONLY)
    try:
        names = os.listdir(f"/proc/self/fd/{fd}")
        assert sorted(names) == [*(layer.name for layer in layers), "top"]
        with open(os.open("top", os.O_RDONLY, dir_fd=fd)) as file:
            assert file.read() == "layer-0000"
    finally:
        os.close(fd)
