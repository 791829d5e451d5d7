"""From images to documents, in each form."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from corten.build.exchange.config import parse_inline
from corten.build.outputs import answers
from corten.build.outputs.contract import Content, Made, Result
from corten.build.outputs.form import Layer, content
from corten.build.outputs.options import Annotation, Form
from corten.errors import Invalid
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec.image_config import INLINE_CACHE, History, ImageConfig, RootFS
from corten.spec.oci_image import Descriptor
from corten.spec.platform import Platform

DIFF = "sha256:" + "d" * 64
GZIP = Descriptor(oci_image.DOCKER_LAYER + ".gzip", "sha256:" + "1" * 64, 10)
ZSTD = Descriptor(oci_image.OCI_LAYER + "+zstd", "sha256:" + "2" * 64, 20)


class AsTheyAre:
    async def layers(self, image: Made, form: Form) -> Sequence[Layer]:
        return [Layer(blob, diff) for blob, diff in zip(image.layers, image.document.diff_ids)]


def made(*layers: Descriptor, architecture: str = "amd64", cache: str = "") -> Made:
    history = (History("2020-01-01T00:00:00Z", "base"), History("2026-01-01T00:00:00Z", "RUN"))
    document = ImageConfig(
        architecture=architecture,
        os="linux",
        created="2026-01-01T00:00:00Z",
        rootfs=RootFS(diff_ids=(DIFF,) * len(layers)),
        history=history,
    )
    return Made(Platform("linux", architecture, ""), document, layers, "top", 0, cache)


async def written(result: Result, form: Form) -> tuple[Content, Any]:
    """With the root as a document; each document is what its digest says."""
    found = await content(result, form, AsTheyAre())
    assert all(digests.of(body) == digest for digest, body in found.documents.items())
    return found, json.loads(found.documents[found.root.digest])


@pytest.mark.parametrize(
    ("docker", "manifest", "config", "layer"),
    [
        (False, oci_image.OCI_MANIFEST, oci_image.OCI_CONFIG, oci_image.OCI_LAYER + "+gzip"),
        (True, oci_image.DOCKER_MANIFEST, oci_image.DOCKER_CONFIG, oci_image.DOCKER_LAYER + ".gzip"),
    ],
)
async def test_media_types(docker: bool, manifest: str, config: str, layer: str) -> None:
    found, root = await written(Result((made(GZIP),)), Form(docker))
    assert (root["mediaType"], root["config"]["mediaType"], root["layers"][0]["mediaType"]) == (manifest, config, layer)
    assert found.layers[0].digest == GZIP.digest and found.images[0].config.digest in found.documents


async def test_docker_knows_no_zstd() -> None:
    with pytest.raises(Invalid, match="zstd"):
        await written(Result((made(ZSTD),)), Form(docker=True))


async def test_nothing_is_younger_than_the_epoch() -> None:
    found, _ = await written(Result((made(GZIP),)), Form(epoch=1_600_000_000))
    document = json.loads(found.documents[found.images[0].config.digest])
    assert document["created"] == "2020-09-13T12:26:40Z"
    assert [each["created"] for each in document["history"]] == ["2020-01-01T00:00:00Z", "2020-09-13T12:26:40Z"]


async def test_an_epoch_of_zero_is_1970() -> None:
    found, _ = await written(Result((made(GZIP),)), Form(epoch=0))
    document = json.loads(found.documents[found.images[0].config.digest])
    assert {document["created"], *(each["created"] for each in document["history"])} == {"1970-01-01T00:00:00Z"}


async def test_an_index() -> None:
    annotations = (
        Annotation("index", "", "i", "1"),
        Annotation("manifest", "linux/arm64", "m", "2"),
        Annotation("manifest-descriptor", "", "d", "3"),
        Annotation("index-descriptor", "", "r", "4"),
    )
    images = (made(GZIP), made(GZIP, ZSTD, architecture="arm64"))
    found, root = await written(Result(images), Form(annotations=annotations))
    assert root["mediaType"] == oci_image.OCI_INDEX and root["annotations"] == {"i": "1"}
    assert [each["platform"]["architecture"] for each in root["manifests"]] == ["amd64", "arm64"]
    assert all(each["annotations"] == {"d": "3"} for each in root["manifests"])
    first, second = (json.loads(found.documents[each.manifest.digest]) for each in found.images)
    assert "annotations" not in first and second["annotations"] == {"m": "2"}
    assert [layer.digest for layer in found.layers] == [GZIP.digest, ZSTD.digest]  # each once
    answer = answers.of(found, Form(annotations=annotations), ["a", "b"])
    assert answer["containerimage.digest"] == found.root.digest and "containerimage.config.digest" not in answer
    described = json.loads(base64.b64decode(answer["containerimage.descriptor"]))
    assert described["annotations"] == {"r": "4"} and answer["image.name"] == "a,b"
    _, one = await written(Result((made(GZIP),), index=True), Form())
    assert len(one["manifests"]) == 1


async def test_a_cache_in_the_configuration() -> None:
    cache = base64.b64encode(json.dumps([{"digest": DIFF, "layers": [{"layer": 0}]}]).encode()).decode()
    found, _ = await written(Result((made(GZIP, ZSTD, cache=cache),)), Form())
    body = found.documents[found.images[0].config.digest]
    assert json.loads(body)[INLINE_CACHE] == cache
    assert DIFF in parse_inline(body, [GZIP.digest, ZSTD.digest])[0].records


async def test_more_layers_than_there_may_be() -> None:
    with pytest.raises(Invalid, match="501 layers"):
        await written(Result((made(*[GZIP] * 501),)), Form())
