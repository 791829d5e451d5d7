"""Outputs as clients ask for them."""

from __future__ import annotations

import pytest

from corten.build.contract import Asked
from corten.build.outputs.options import (
    Annotation,
    ArchiveOutput,
    Compression,
    Form,
    ImageOutput,
    Output,
    TreeOutput,
    annotated,
    read,
)
from corten.errors import Invalid, Unsupported


def one(kind: str, epoch: int | None = None, **attributes: str) -> Output:
    found, unknown = read([Asked(kind, {key.replace("_", "-"): value for key, value in attributes.items()})], epoch)
    assert not unknown
    return found[0]


def test_images() -> None:
    names = ("docker.io/library/a:latest", "some.where/b:1")
    assert one("image", name="a,some.where/b:1") == ImageOutput(Form(inline=True), names)
    assert one("moby", push="true", name="a", unpack="true") == ImageOutput(Form(inline=True), names[:1], push=True)
    assert one("registry", name="a", store="false") == ImageOutput(Form(inline=True), names[:1], store=False, push=True)
    by_digest = one("image", push="", push_by_digest="1", name="a")
    assert by_digest == ImageOutput(Form(inline=True), ("docker.io/library/a",), push=True, by_digest=True)


def test_archives_and_trees() -> None:
    assert one("oci") == ArchiveOutput(Form())
    assert one("docker", name="x:2") == ArchiveOutput(Form(docker=True), True, ("docker.io/library/x:2",))
    assert one("oci", tar="false") == ArchiveOutput(Form(), tar=False)
    assert one("local", 5, platform_split="true") == TreeOutput(False, 5, True)
    assert one("tar", source_date_epoch="7", attestation_prefix="p.") == TreeOutput(True, 7, prefix="p.")
    assert one("local", mode="delete") == TreeOutput(False, delete=True)


def test_forms() -> None:
    zstd = Compression("zstd", 3, True)
    asked = {"compression": "zstd", "compression_level": "3", "force_compression": "true"}
    assert one("oci", None, **asked) == ArchiveOutput(Form(compression=zstd))
    assert one("docker", None, **asked) == ArchiveOutput(
        Form(compression=zstd), docker=True
    )  # there is no such Docker type
    assert one("oci", oci_mediatypes="false") == ArchiveOutput(Form(docker=True))
    assert one("oci", 9, rewrite_timestamp="true") == ArchiveOutput(Form(epoch=9, rewrite=True))


def test_annotations() -> None:
    attributes = {"annotation.a.b": "1", "annotation-index.c": "2", "annotation-manifest[linux/arm64].d": "3"}
    found, _ = read([Asked("oci", attributes)])
    assert isinstance(found[0], ArchiveOutput)
    annotations = found[0].form.annotations
    assert set(annotations) == {
        Annotation("manifest", "", "a.b", "1"),
        Annotation("index", "", "c", "2"),
        Annotation("manifest", "linux/arm64", "d", "3"),
    }
    assert annotated(annotations, "manifest", "linux/amd64") == {"a.b": "1"}
    assert annotated(annotations, "manifest", "linux/arm64") == {"a.b": "1", "d": "3"}


def test_numbers_are_places_and_nothing_is_silent() -> None:
    found, unknown = read(
        [Asked(""), Asked("tar", {"x": "1"}), Asked("cacheonly"), Asked("oci", {"annotation-x.y": "z"})]
    )
    assert list(found) == [1, 3]
    assert unknown == ("x of type=tar", "annotation-x.y of type=oci")


@pytest.mark.parametrize(
    ("kind", "attributes", "error", "says"),
    [
        ("image", {"push": "perhaps"}, Invalid, "non-bool value specified for push"),
        ("image", {"push": "true"}, Invalid, "needs a name to push to"),
        ("image", {"name": "a@sha256:" + "0" * 64}, Invalid, "has a digest"),
        ("image", {"name": "A:x"}, Invalid, "name"),
        ("oci", {"compression": "estargz"}, Unsupported, "compression=estargz"),
        ("oci", {"compression": "gzip", "compression-level": "10"}, Invalid, "compression-level=10"),
        ("oci", {"compression-level": "x"}, Invalid, "is no number"),
        ("oci", {"compression": "zstd", "oci-mediatypes": "false"}, Invalid, "conflicts"),
        ("oci", {"rewrite-timestamp": "true"}, Invalid, "needs a time"),
        ("local", {"mode": "move"}, Invalid, "invalid mode"),
        ("local", {"attestation-prefix": "../x"}, Invalid, "invalid attestation-prefix"),
        ("image", {"registry.insecure": "true"}, Unsupported, "insecure-registries"),
        ("nydus", {}, Unsupported, "type=nydus"),
        ("tar", {"x": "y" * 70_000}, Invalid, "longer ones"),
    ],
)
def test_what_is_refused(kind: str, attributes: dict[str, str], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        read([Asked(kind, attributes)])


def test_not_any_number_of_them() -> None:
    with pytest.raises(Invalid, match="20 outputs"):
        read([Asked("tar")] * 21)
