"""What is attested of images, beside them in their index: for each image a manifest whose layers are in-toto statements
(BuildKit's documentation, "Image attestation storage")."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from corten.build.outputs import statements
from corten.build.outputs.contract import ExtraFile, Made, Predicate, TreeReader, Written
from corten.build.outputs.options import Form
from corten.errors import Invalid
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor

_NO_PLATFORM = {"architecture": "unknown", "os": "unknown"}
_TYPE, _OF = "vnd.docker.reference.type", "vnd.docker.reference.digest"
_PREDICATE = "in-toto.io/predicate-type"


@dataclass(frozen=True, slots=True)
class Attested:
    """Of one image: `entry` is how an index names its manifest, `documents` are by digest, `blobs` describe them."""

    entry: Json
    documents: Mapping[str, bytes]
    blobs: tuple[Descriptor, ...]


async def written(images: Sequence[Written], form: Form, names: Sequence[str]) -> list[Attested]:
    """Of those that have any in this form. Raises Invalid where the form has no place for them."""
    wanted = [(image, _wanted(image.made, form.inline)) for image in images]
    if form.docker and any(predicates for _, predicates in wanted):
        raise Invalid('cannot export attestations with "oci-mediatypes=false"')
    return [await asyncio.to_thread(_one, image, predicates, names) for image, predicates in wanted if predicates]


async def files(image: Made, prefix: str, reader: TreeReader) -> tuple[ExtraFile, ...]:
    """For a directory with the files of an image, which they are about."""
    wanted = _wanted(image, inline=False)
    if not wanted:
        return ()
    subjects = sorted((await reader.digests(image.top)).items())
    return tuple(
        [
            ExtraFile(prefix + each.file, await asyncio.to_thread(statements.statement, each, subjects))
            for each in wanted
        ]
    )


def _wanted(image: Made, inline: bool) -> list[Predicate]:
    return [each for each in image.predicates if inline or not each.inline]


def _one(image: Written, predicates: Sequence[Predicate], names: Sequence[str]) -> Attested:
    subjects = statements.of_image(names, image.manifest.digest, image.made.platform)
    documents: dict[str, bytes] = {}

    def document(body: bytes, kind: str) -> Descriptor:
        digest = digests.of(body)
        documents[digest] = body
        return Descriptor(kind, digest, len(body))

    layers = [document(statements.statement(each, subjects), statements.MEDIA_TYPE) for each in predicates]
    config = document(_config(layers), oci_image.OCI_CONFIG)
    described = [{**layer.to_json(), "annotations": {_PREDICATE: each.type}} for layer, each in zip(layers, predicates)]
    body = {"schemaVersion": 2, "mediaType": oci_image.OCI_MANIFEST, "config": config.to_json(), "layers": described}
    manifest = document(msgspec.json.encode(body), oci_image.OCI_MANIFEST)
    annotations = {_OF: image.manifest.digest, _TYPE: "attestation-manifest"}
    entry = {**manifest.to_json(), "annotations": annotations, "platform": _NO_PLATFORM}
    return Attested(entry, documents, (*layers, config, manifest))


def _config(layers: Sequence[Descriptor]) -> bytes:
    """A valid configuration, which says nothing: registries and image stores look for one."""
    diffs = [layer.digest for layer in layers]
    return msgspec.json.encode({**_NO_PLATFORM, "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}})
