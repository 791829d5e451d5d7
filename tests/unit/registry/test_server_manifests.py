"""Manifests that no client could read are refused; what the specification leaves open is let through."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from corten.errors import Invalid
from corten.registry.server.manifests import check_manifest, check_pushed
from corten.spec.oci_image import OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from registry_parts.own import Own, digest, entry

GOOD = entry(b"", "application/vnd.example.unknown")
WRONG_FIELDS: list[dict[str, Any]] = [
    {"size": -1}, {"size": "5"}, {"size": 5.0}, {"size": True}, {"size": None}, {"size": 1 << 63}, {"size": []},
    {"digest": None}, {"digest": "sha256:x"}, {"digest": {}}, {"mediaType": 5}, {"mediaType": ["x"]},
    {"mediaType": "x" * 256}, {"artifactType": {}}, {"annotations": []}, {"annotations": {"a": 1}},
    {"annotations": {"a": None}}, {"urls": "http://x"}, {"urls": [1]}, {"urls": {"0": "x"}}, {"data": 7},
    {"data": "no base64!"}, {"data": base64.b64encode(b"other").decode()}, {"platform": []}, {"platform": "linux"},
    {"platform": {"os": 1}}, {"platform": {"architecture": None, "variant": []}}, {"platform": {"os.features": "x"}},
    {"platform": {"os.features": [1]}}, {"platform": {"os.version": {}}},
]  # fmt: skip
RIGHT_FIELDS: list[dict[str, Any]] = [
    {}, {"size": 0}, {"size": (1 << 63) - 1}, {"mediaType": None}, {"mediaType": ""}, {"unknown": [{"x": None}]},
    {"annotations": {"org.example": "é"}}, {"annotations": None}, {"urls": ["https://x"]}, {"urls": None},
    {"data": ""}, {"platform": {"os": "linux", "architecture": "x", "os.features": [], "new": 1}},
    {"artifactType": "application/vnd.example"},
]  # fmt: skip


def places(field: dict[str, Any]) -> list[dict[str, Any]]:
    """Documents that have a descriptor with `field`, in each place where there can be one."""
    descriptor = {**GOOD, **field}
    image = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": GOOD, "layers": []}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    return [
        {**image, "config": descriptor},
        {**image, "layers": [GOOD, descriptor]},
        {**image, "subject": descriptor},
        {**image, "blobs": [descriptor]},
        {**index, "manifests": [descriptor]},
        {**index, "subject": descriptor},
    ]


@pytest.mark.parametrize("field", WRONG_FIELDS, ids=lambda field: json.dumps(field)[:40])
def test_wrong_descriptors(field: dict[str, Any]) -> None:
    for document in places(field):
        with pytest.raises(Invalid):
            check_pushed(json.dumps(document).encode(), "")


@pytest.mark.parametrize("field", RIGHT_FIELDS, ids=lambda field: json.dumps(field)[:40])
def test_right_descriptors(field: dict[str, Any]) -> None:
    for document in places(field):
        check_pushed(json.dumps(document).encode(), "")


@pytest.mark.parametrize(
    "body",
    [
        b'{"schemaVersion":2,"layers":[],"layers":[]}',
        b'{"schemaVersion":2,"annotations":{"a":"1","a":"2"}}',
        b'{"schemaVersion":2,"x":NaN}',
        b'{"schemaVersion":2,"x":-Infinity}',
        b'{"schemaVersion":2,"annotations":{"a":"\\ud800"}}',
        b'{"schemaVersion":2,"annotations":{"\\udc00":"a"}}',
        b'{"schemaVersion":2,"x":"\xff"}',
        b'\xef\xbb\xbf{"schemaVersion":2}',
        '{"schemaVersion":2}'.encode("utf-16"),
        b'{"schemaVersion":2,"x":' + b"[" * 101 + b"]" * 101 + b"}",
        b'{"schemaVersion":2,"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"schemaVersion":2,"x":' + b'{"y":' * 101 + b"1" + b"}" * 102,
        b'{"schemaVersion":2,"x":' + b"1" * 10_000 + b"}",
        b'{"schemaVersion":2.0}',
        b'{"schemaVersion":true}',
        b'{"schemaVersion":2,"layers":{}}',
        b'{"schemaVersion":2,"layers":""}',
        b'{"schemaVersion":2,"manifests":0}',
        b'{"schemaVersion":2,"config":[]}',
        b'{"schemaVersion":2,"subject":"x"}',
        b'{"schemaVersion":2,"annotations":[]}',
        b'{"schemaVersion":2,"annotations":{"a":1}}',
        b'{"schemaVersion":2,"artifactType":7}',
        b"2",
        b"",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_wrong_documents(body: bytes) -> None:
    with pytest.raises(Invalid):
        check_pushed(body, OCI_MANIFEST)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"annotations": {"a": "\U0001f600"}, "x": "é"},
        {"layers": None, "annotations": None, "subject": None},
        {"x": [[[[{"y": 1e400}]]]]},
        {"artifactType": "application/vnd.example", "config": GOOD, "layers": [GOOD]},
    ],
)
def test_right_documents(more: dict[str, Any]) -> None:
    document = {"schemaVersion": 2, **more}
    for body in (json.dumps(document), json.dumps(document, ensure_ascii=False)):
        check_pushed(body.replace("Infinity", "1e400").encode(), OCI_MANIFEST)


async def test_the_error_of_a_wrong_size(own: Own) -> None:
    await own.push_blob("a", b"layer")
    for size in (-1, "5"):
        layer = {"mediaType": OCI_LAYER, "digest": digest(b"layer"), "size": size}
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [layer]}
        answer = await own.push("a", "1", json.dumps(document).encode())
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
        assert answer.json["errors"][0]["message"] == "manifest invalid: layers.size has to be a number of bytes"


def test_what_was_kept_before_can_still_be_read() -> None:
    """Collections and caches rely on digests alone: an old manifest must not make either of them fail."""
    document = {"schemaVersion": 2, "layers": [{"digest": digest(b""), "size": -1}]}
    assert check_manifest(json.dumps(document).encode(), "").blobs == (digest(b""),)
