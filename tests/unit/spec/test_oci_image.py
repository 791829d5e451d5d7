import json
from typing import Any

import pytest

from corten.errors import Invalid, Unsupported
from corten.spec import oci_image, platform
from corten.spec.oci_image import Index, Manifest, parse_manifest
from corten.spec.platform import Platform

D = "sha256:" + "a" * 64


def manifest(**fields: Any) -> dict[str, Any]:
    config = {"mediaType": oci_image.OCI_CONFIG, "digest": D, "size": 2}
    return {"schemaVersion": 2, "mediaType": oci_image.OCI_MANIFEST, "config": config, "layers": [], **fields}


def parse(document: Any, content_type: str = "") -> Manifest | Index:
    return parse_manifest(json.dumps(document).encode(), content_type)


def test_good_documents() -> None:
    assert isinstance(parse(manifest(), oci_image.OCI_MANIFEST + "; charset=utf-8"), Manifest)
    index = parse(
        {
            "schemaVersion": 2,
            "manifests": [{"digest": D, "size": 1, "platform": {"os": "linux", "architecture": "arm64"}}],
        }
    )
    assert isinstance(index, Index)
    assert index.manifests[0].platform == Platform("linux", "arm64")


@pytest.mark.parametrize(
    "document",
    [
        manifest(manifests=[]),
        manifest(layers={}),
        manifest(schemaVersion=3),
        manifest(mediaType=oci_image.OCI_INDEX),
        manifest(config={"digest": "sha256:../../etc", "size": 1}),
        manifest(config={"digest": D, "size": -1}),
        manifest(config={"digest": D, "size": True}),
        manifest(config={"digest": D, "size": 1 << 60}),
        manifest(layers=[{"digest": D.upper(), "size": 1}]),
        manifest(layers=[{"digest": D, "size": 1}] * 501),
        [],
        "x",
    ],
)
def test_malformed_and_ambiguous(document: Any) -> None:
    with pytest.raises(Invalid):
        parse(document)


def test_served_as_something_else() -> None:
    with pytest.raises(Invalid, match="was served as"):
        parse(manifest(), oci_image.DOCKER_MANIFEST)


def test_schema_1_and_size() -> None:
    with pytest.raises(Unsupported):
        parse({"schemaVersion": 1})
    with pytest.raises(Invalid, match="larger"):
        parse_manifest(b" " * (oci_image.MAX_MANIFEST + 1))
    with pytest.raises(Invalid):
        parse_manifest(b"[" * 100_000)


def test_layers_that_are_none() -> None:
    for kind in ("application/vnd.cncf.helm.chart", "application/vnd.docker.image.rootfs.foreign.diff.tar.xz"):
        with pytest.raises(Unsupported):
            oci_image.layer_compression(oci_image.Descriptor(kind, D, 1))


@pytest.mark.parametrize(("kind", "compression", "foreign"), [
    ("application/vnd.oci.image.layer.v1.tar+zstd", "zstd", False),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip", False),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar", "tar", True),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip", True),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "zstd", True),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar", "tar", True),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip", True),
])  # fmt: skip
def test_layers(kind: str, compression: str, foreign: bool) -> None:
    layer = oci_image.Descriptor(kind, D, 1)
    assert (oci_image.layer_compression(layer), oci_image.is_foreign(layer)) == (compression, foreign)


def test_chain_ids() -> None:
    # By `printf '%s %s' $D $D | sha256sum`, as OCI's config.md defines it.
    assert oci_image.chain_ids([D, D]) == (D, "sha256:9d2cc34dc7dc748dba0ed439e6987c2f2c39ec504fa0c1527531d9bc7d0f1052")
    assert oci_image.chain_ids([]) == ()


def test_platform_choice() -> None:
    arm = [Platform("linux", "arm", v) for v in ("v5", "v6", "v7")]
    assert platform.choose(arm, platform.parse("linux/arm/v6")) == 1
    assert platform.choose(arm, platform.parse("linux/arm64")) is None
    assert platform.choose([None, Platform("linux", "amd64")], platform.parse("amd64")) == 1
    assert platform.parse("linux/x86_64") == platform.parse("linux/amd64/v1")
    assert platform.parse("linux/arm64/v8") == platform.parse("aarch64")
    for bad in ("", "a/b/c/d", "linux/../x"):
        with pytest.raises(Invalid):
            platform.parse(bad)
