"""Attestations of images as documents, and of directories as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest

from corten.build.outputs import attestations
from corten.build.outputs.contract import Content, Made, Predicate, Result, TreeReader
from corten.build.outputs.form import Layer, content
from corten.build.outputs.options import Form
from corten.errors import Invalid
from corten.spec import oci_image
from corten.spec.image_config import ImageConfig, RootFS
from corten.spec.oci_image import OCI_LAYER, Descriptor
from corten.spec.platform import Platform

SBOM = Predicate("https://spdx.dev/Document", b'{"a": 1}', "sbom.spdx.json")
SLSA = Predicate("https://slsa.dev/provenance/v1", b'{"b": 2}', "provenance.json", inline=True)
LAYER = Descriptor(OCI_LAYER + "+gzip", "sha256:" + "1" * 64, 5)


class AsTheyAre:
    async def layers(self, image: Made, form: Form) -> Sequence[Layer]:
        return [Layer(blob, diff) for blob, diff in zip(image.layers, image.document.diff_ids)]


class Reader:
    async def digests(self, top: str | None) -> dict[str, str]:
        return {"b": "sha256:bb", "a": "sha256:aa"}


def image(*predicates: Predicate, architecture: str = "amd64") -> Made:
    document = ImageConfig(architecture=architecture, os="linux", rootfs=RootFS(diff_ids=("sha256:" + "2" * 64,)))
    return Made(Platform("linux", architecture), document, (LAYER,), "tree", predicates=predicates)


async def written(form: Form, *images: Made, names: Sequence[str] = ()) -> Content:
    return await content(Result(images), form, AsTheyAre(), names)


async def test_nothing_attested_is_no_index() -> None:
    found = await written(Form(inline=True), image())
    assert found.root.media_type == oci_image.OCI_MANIFEST and found.attached == ()


async def test_the_index_of_one_image() -> None:
    found = await written(Form(inline=True), image(SBOM, SLSA), names=["docker.io/library/app:1"])
    index = json.loads(found.documents[found.root.digest])
    plain, attested = index["manifests"]
    assert plain["platform"] == {"architecture": "amd64", "os": "linux"} and "annotations" not in plain
    assert attested["annotations"]["vnd.docker.reference.digest"] == plain["digest"]
    manifest = oci_image.parse_manifest(found.documents[attested["digest"]])
    assert isinstance(manifest, oci_image.Manifest) and len(manifest.layers) == 2
    bodies = [json.loads(found.documents[layer.digest]) for layer in manifest.layers]
    assert [body["predicate"] for body in bodies] == [{"a": 1}, {"b": 2}]
    assert bodies[0]["subject"][0]["name"] == "pkg:docker/app@1?platform=linux%2Famd64"
    known = {found.root.digest, *(each.digest for each in found.attached)}
    known |= {part.digest for each in found.images for part in (each.config, each.manifest)}
    assert known == set(found.documents)
    assert all(each.size == len(found.documents[each.digest]) for each in found.attached)


async def test_each_image_of_several_has_its_own() -> None:
    found = await written(Form(), image(SBOM), image(SBOM, architecture="arm64"))
    entries: list[dict[str, Any]] = json.loads(found.documents[found.root.digest])["manifests"]
    assert [each["platform"]["architecture"] for each in entries] == ["amd64", "arm64", "unknown", "unknown"]
    assert [each["annotations"]["vnd.docker.reference.digest"] for each in entries[2:]] == [
        each["digest"] for each in entries[:2]
    ]


async def test_what_is_for_images_alone_is_left_out_elsewhere() -> None:
    assert (await written(Form(), image(SLSA))).attached == ()
    assert (await written(Form(docker=True), image(SLSA))).root.media_type == oci_image.DOCKER_MANIFEST


async def test_docker_has_no_type_for_it() -> None:
    with pytest.raises(Invalid, match="oci-mediatypes=false"):
        await written(Form(docker=True), image(SBOM))


async def test_files_of_a_directory() -> None:
    (file,) = await attestations.files(image(SBOM, SLSA), "pre-", cast(TreeReader, Reader()))
    assert file.name == "pre-sbom.spdx.json"
    assert json.loads(file.data)["subject"] == [
        {"name": "a", "digest": {"sha256": "aa"}},
        {"name": "b", "digest": {"sha256": "bb"}},
    ]
    assert await attestations.files(image(), "", cast(TreeReader, Reader())) == ()
