"""From a build's images to documents: a configuration and a manifest for each, and an index where one was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from corten.build.outputs import attestations
from corten.build.outputs.contract import Content, Made, Result, Written
from corten.build.outputs.options import Annotation, Form, annotated
from corten.errors import Invalid
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec.docker import times
from corten.spec.image_config import INLINE_CACHE, ImageConfig, RootFS
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor
from corten.spec.platform import described
from corten.units.durations import SECOND


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of an image: its blob, and the digest of the tar in it."""

    blob: Descriptor
    diff_id: str


class Recoded(Protocol):
    """Layers in another form (`layers.Recoding`)."""

    async def layers(self, image: Made, form: Form) -> Sequence[Layer]: ...


async def content(result: Result, form: Form, recoded: Recoded, names: Sequence[str] = ()) -> Content:
    """`names` are those that it gets. Raises Invalid for an image that cannot be: more layers than may lie upon
    another, attestations among Docker's media types."""
    written, documents, layers = list[Written](), dict[str, bytes](), dict[str, Descriptor]()
    for image in result.images:
        one = await _image(image, form, recoded, documents)
        written.append(one)
        layers.update((layer.digest, layer) for layer in one.made.layers)
    attested = await attestations.written(written, form, names)
    root, attached = written[0].manifest, list[Descriptor]()
    for each in attested:
        documents.update(each.documents)
        attached += each.blobs
    if result.index or len(written) > 1 or attested:
        root = _index(written, [each.entry for each in attested], form, documents)
    return Content(root, tuple(written), documents, tuple(layers.values()), tuple(attached))


async def _image(image: Made, form: Form, recoded: Recoded, documents: dict[str, bytes]) -> Written:
    if len(image.layers) > oci_image.MAX_LAYERS:
        raise Invalid(f"the image has {len(image.layers)} layers; {oci_image.MAX_LAYERS} are the most there can be")
    found = await recoded.layers(image, form)
    layers = tuple(_typed(layer.blob, form.docker) for layer in found)
    document = _dated(image.document, form.epoch)
    document = msgspec.structs.replace(document, rootfs=RootFS(diff_ids=tuple(layer.diff_id for layer in found)))
    kind = oci_image.DOCKER_CONFIG if form.docker else oci_image.OCI_CONFIG
    config = _document(_with_cache(document, image.cache), kind, documents)
    kind = oci_image.DOCKER_MANIFEST if form.docker else oci_image.OCI_MANIFEST
    named = annotated(form.annotations, "manifest", str(image.platform))
    manifest = _document(oci_image.render_manifest(config, layers, kind, named), kind, documents)
    return Written(replace(image, document=document, layers=layers), config, manifest)


def _index(written: Sequence[Written], attested: Sequence[Json], form: Form, documents: dict[str, bytes]) -> Descriptor:
    kind = oci_image.DOCKER_LIST if form.docker else oci_image.OCI_INDEX
    entries = [*(entry(each, form.annotations) for each in written), *attested]
    named = annotated(form.annotations, "index")
    return _document(oci_image.render_index(entries, kind, named), kind, documents)


def entry(written: Written, annotations: Sequence[Annotation]) -> Json:
    """An image as an index names it."""
    platform = written.made.platform
    named = annotated(annotations, "manifest-descriptor", str(platform))
    return {
        **written.manifest.to_json(),
        "platform": described(platform),
        **({"annotations": dict(named)} if named else {}),
    }


def _with_cache(document: ImageConfig, cache: str) -> bytes:
    body = document.to_bytes()
    return msgspec.json.encode({**msgspec.json.decode(body), INLINE_CACHE: cache}) if cache else body


def _document(body: bytes, kind: str, documents: dict[str, bytes]) -> Descriptor:
    digest = digests.of(body)
    documents[digest] = body
    return Descriptor(kind, digest, len(body))


def _typed(layer: Descriptor, docker: bool) -> Descriptor:
    """The same blob, called as the manifest's kind calls it."""
    compression = oci_image.layer_compression(layer)
    if docker and compression == "zstd":
        raise Invalid(
            "Docker has no media type for layers in zstd: set oci-mediatypes=true, or compression=gzip and "
            "force-compression=true"
        )
    return Descriptor(oci_image.layer_type(compression, docker), layer.digest, layer.size)


def _dated(document: ImageConfig, epoch: int | None) -> ImageConfig:
    """Nothing in it is younger than `epoch`."""
    if epoch is None:
        return document

    def clamped(time: str) -> str:
        late = not time or times.parse_time(time) > epoch * SECOND
        return times.moment(epoch * SECOND) if late else time

    history = tuple(msgspec.structs.replace(each, created=clamped(each.created)) for each in document.history)
    return msgspec.structs.replace(document, created=clamped(document.created), history=history)


def descriptor(found: Content, form: Form, more: Mapping[str, str] | None = None) -> Json:
    """The root as what points at it describes it."""
    index = found.root.media_type in oci_image.INDEXES
    level = "index-descriptor" if index else "manifest-descriptor"
    named = {**annotated(form.annotations, level), **(more or {})}
    return {**found.root.to_json(), **({"annotations": named} if named else {})}
