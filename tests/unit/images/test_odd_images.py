"""Images that other builders make, after public bug reports: each is pulled, or loaded, as dockerd does. What is wrong
with a configuration is in unit/spec and e2e/test_strange_images.py, what is wrong with a layer in tests/hostile."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
from typing import Any

import pytest

from corten.errors import CortenError
from corten.spec import platform
from corten.spec.oci_image import DOCKER_LAYER, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from image_parts import tars
from image_parts.registries import Scripted
from image_parts.stores import BOTTOM, TOP, Made, Store, body, collect, digest, docker_archive, entry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")


def zstd(data: bytes) -> bytes:
    from backports import zstd

    return zstd.compress(data)


def skipped(data: bytes) -> bytes:
    """A frame that a decompressor passes over; estargz and zstd:chunked keep their tables in such."""
    return struct.pack("<II", 0x184D2A50, len(data)) + data


LAYERS = {
    "zstd-of-docker": (DOCKER_LAYER + ".zstd", zstd(TOP)),
    "zstd-of-several-frames": (OCI_LAYER + "+zstd", zstd(TOP[:700]) + zstd(TOP[700:])),
    "zstd-with-a-frame-to-skip": (OCI_LAYER + "+zstd", skipped(b"x" * 99) + zstd(TOP) + skipped(b"table" * 9)),
    "gzip-of-many-members": (
        OCI_LAYER + "+gzip",
        b"".join(gzip.compress(TOP[at : at + 512]) for at in range(0, len(TOP), 512)),
    ),
}


@pytest.mark.parametrize("case", LAYERS)
async def test_layers(store: Store, server: Scripted, case: str) -> None:
    kind, layer = LAYERS[case]
    image = Made([BOTTOM, TOP])
    document = json.loads(image.manifest)
    document["layers"][1] = entry(kind, layer)
    server.blobs[digest(layer)] = layer
    server.manifests["odd"] = (OCI_MANIFEST, json.dumps(document).encode())
    said = await collect(store.images.pull(f"{server.host}/a/b", "odd"))
    assert said[-1]["status"].startswith("Status: Downloaded newer image")


async def test_a_configuration_of_no_type(store: Store, server: Scripted) -> None:
    image = Made([BOTTOM, TOP])
    document = json.loads(image.manifest)
    document["config"]["mediaType"] = "application/octet-stream"
    server.manifests["odd"] = (OCI_MANIFEST, json.dumps(document).encode())
    await collect(store.images.pull(f"{server.host}/a/b", "odd"))
    assert store.images.resolve(f"{server.host}/a/b:odd").id == digest(image.config)


HERE = {"os": "linux", "architecture": platform.host().architecture}
ELSE = {"os": "unknown", "architecture": "unknown"}


@pytest.mark.parametrize("shape", ["attested", "null", "none", "nested", "variants", "also-of-another-system"])
async def test_indexes(store: Store, server: Scripted, shape: str) -> None:
    """Of what is in an index the image for this machine is found, wherever it stands."""
    image, other = Made([BOTTOM, TOP]), Made([TOP])
    for made in (image, other):
        server.add("x", made)
    ours, theirs = entry(OCI_MANIFEST, image.manifest), entry(OCI_MANIFEST, other.manifest)
    entries: list[dict[str, Any]] = {
        "attested": [
            {**theirs, "platform": ELSE, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
            {**ours, "platform": HERE},
        ],
        "null": [{**ours, "platform": None}],
        "none": [ours],
        "nested": [],
        "variants": [
            {**theirs, "platform": {"os": "linux", "architecture": "arm", "variant": "v5"}},
            {**theirs, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
            {**ours, "platform": HERE},
        ],
        "also-of-another-system": [
            {**theirs, "platform": {**HERE, "os": "windows", "os.version": "10.0.1"}},
            {**ours, "platform": {**HERE, "os.features": []}},
        ],
    }[shape]
    if shape == "nested":
        inner = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{**ours, "platform": HERE}]})
        server.manifests[digest(inner.encode())] = (OCI_INDEX, inner.encode())
        entries.append(entry(OCI_INDEX, inner.encode()))
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    server.manifests["odd"] = (OCI_INDEX, json.dumps(index).encode())
    said = await collect(store.images.pull(f"{server.host}/a/b", "odd"))
    assert "error" not in said[-1], said[-1]
    assert store.images.resolve(f"{server.host}/a/b:odd").id == digest(image.config)


def archived(image: Made, layers: list[str], *members: bytes) -> bytes:
    """Docker's archive in which the layers have these paths."""
    listed = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": layers}]
    return tars.archive(
        tars.file("c.json", image.config), *members, tars.file("manifest.json", json.dumps(listed).encode())
    )


async def test_a_base_that_is_known_has_no_path(store: Store) -> None:
    """buildah leaves it empty."""
    await collect(store.images.load(body(docker_archive(Made([BOTTOM]), ["base:1"]))))
    image = Made([BOTTOM, TOP])
    await collect(store.images.load(body(archived(image, ["", "1.tar"], tars.file("1.tar", TOP)))))
    assert store.images.resolve("a:1").id == digest(image.config)


async def test_a_link_beside_its_directory_is_no_layer(store: Store) -> None:
    """One that would be right from the archive's root: refused by its name, as by dockerd."""
    image = Made([TOP])
    data = archived(image, ["aa/layer.tar"], tars.file("bb.tar", TOP), tars.symlink("aa/layer.tar", "bb.tar"))
    with pytest.raises(CortenError, match=r"aa/layer\.tar|aa/bb\.tar"):
        await collect(store.images.load(body(data)))
    assert store.leftovers() == []


async def test_names_owners_and_times(store: Store) -> None:
    """As dockerd, or better: what no file system can have is refused by name, all else is there."""
    odd = io.BytesIO()
    with tarfile.open(fileobj=odd, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "global"}) as tar:
        for name, mtime in (("a", -1.25), ("./b//c", 100_000_000_000), ("d/../e", 1.000000001), ("\u00e9" * 60, 0)):
            info = tarfile.TarInfo(name)
            info.uid, info.gid, info.mtime = 369_884_941, 0, mtime
            tar.addfile(info)
        long = tarfile.TarInfo("l")
        long.type, long.linkname = tarfile.SYMTYPE, "x/" * 1500
        tar.addfile(long)
    whole = odd.getvalue()
    endless = whole.rstrip(b"\0")
    endless += bytes(-len(endless) % 512)
    for data in (whole, endless, whole + b"garbage" * 300):
        image = Made([data])
        said = await collect(store.images.load(body(docker_archive(image, ["odd:1"]))))
        assert "error" not in said[-1], said[-1]
        assert store.images.resolve("odd:1").id == digest(image.config)
        await store.images.remove("odd:1")
    for uid in (2**32, 2**32 - 1):
        info = tarfile.TarInfo("named")
        info.uid = uid
        refused = io.BytesIO()
        with tarfile.open(fileobj=refused, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(info)
        with pytest.raises(CortenError):
            said = await collect(store.images.load(body(docker_archive(Made([refused.getvalue()]), ["odd:2"]))))
            raise CortenError(said[-1]["error"])
    assert store.leftovers() == []
