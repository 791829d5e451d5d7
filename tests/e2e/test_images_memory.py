"""Images go through the daemon; they are never in it: its memory does not depend on their size."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from corten.spec.oci_image import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from e2e_parts.clients import Client
from e2e_parts.cortend import Cortend
from image_parts import tars
from image_parts.held import held
from image_parts.stores import Made, digest, entry

SIZE = 96 << 20
ALLOWED = 40 << 20  # for three downloads and two layers being unpacked at a time, whatever they measure


@pytest.fixture
def large() -> Made:
    """Three layers that are not compressed, so that they are quickly made."""
    layers = [tars.archive(tars.file(f"f{number}", os.urandom(SIZE // 3))) for number in range(3)]
    image = Made([])
    document = json.loads(image.config)
    document["rootfs"]["diff_ids"] = [digest(layer) for layer in layers]
    image.config, image.layers = json.dumps(document).encode(), layers
    image.manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": entry(OCI_CONFIG, image.config),
            "layers": [entry(OCI_LAYER, layer) for layer in layers],
        }
    ).encode()
    return image


def memory(pid: int, key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) << 10


def test_pull_save_load(daemon: Cortend, corten: Client, large: Made, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    with held() as registry:
        registry.add("1", large)
        name = f"{registry.host}/a/b:1"
        for command in (
            ["pull", name],
            ["save", "-o", str(archive), name],
            ["rmi", name],
            ["load", "-i", str(archive)],
            ["rmi", name],
        ):
            Path(f"/proc/{daemon.pid}/clear_refs").write_text("5")  # the peak begins anew
            before = memory(daemon.pid, "VmRSS")
            corten(*command)
            assert memory(daemon.pid, "VmHWM") - before < ALLOWED, command
    assert archive.stat().st_size > SIZE
