"""In-toto statements (in-toto.io/Statement/v1): a predicate, and the digests of what it is about."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from corten.build.outputs.contract import Predicate
from corten.spec import purl
from corten.spec.platform import Platform
from corten.spec.reference import parse

MEDIA_TYPE = "application/vnd.in-toto+json"
_TYPE = "https://in-toto.io/Statement/v1"
_UNNAMED = "_"


def statement(predicate: Predicate, subjects: Sequence[tuple[str, str]]) -> bytes:
    """`subjects` are names and digests (`sha256:...`)."""
    named = [{"name": name, "digest": dict([digest.split(":", 1)])} for name, digest in subjects]
    body = {"_type": _TYPE, "predicateType": predicate.type, "subject": named, "predicate": msgspec.Raw(predicate.body)}
    return msgspec.json.encode(body)


def of_image(names: Sequence[str], digest: str, platform: Platform) -> list[tuple[str, str]]:
    """The subjects for an image with these names."""
    named = [purl.of_image("docker", parse(name), platform) for name in names]
    return [(name, digest) for name in named or [_UNNAMED]]
