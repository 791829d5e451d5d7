"""What a client may push as a manifest: JSON that reads alike everywhere, and descriptors whose fields have the types
that the OCI image specification 1.1 gives them (descriptor.md, image-index.md). What it does not name is let through.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from corten.errors import Invalid
from corten.spec import digest as digests
from corten.spec.json import Json

_MAX_TEXT = 255
_DEEPEST = 100  # braces and brackets in one another
_PLATFORM_TEXTS = ("architecture", "os", "os.version", "variant")
_PLATFORM_LISTS = ("os.features", "features")


def read(body: bytes) -> Json:
    """One JSON object in UTF-8 (RFC 8259), in which no key stands twice. Raises Invalid for anything else."""
    try:
        text = body.decode()
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise Invalid(f"manifest invalid: it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Invalid("manifest invalid: it is no JSON object")
    _check_depth(document)
    return document


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _check_depth(document: Json) -> None:
    layer: list[Any] = [document]
    for _ in range(_DEEPEST):
        inner = (each.values() if isinstance(each, dict) else each for each in layer)
        layer = [value for values in inner for value in values if isinstance(value, (dict, list))]
        if not layer:
            return
    raise Invalid(f"manifest invalid: it is deeper than {_DEEPEST} levels")


def check(document: Json) -> None:
    """Raises Invalid for an image manifest, artifact manifest or index with a field of the wrong type."""
    if type(document.get("schemaVersion")) is not int:
        raise _wrong("schemaVersion", "a whole number")
    _texts(document, ("mediaType", "artifactType"))
    _annotations(document)
    for key in ("config", "subject"):
        if document.get(key) is not None:
            _descriptor(document[key], key)
    for key in ("layers", "blobs", "manifests"):
        for entry in _optional(document, key, list, "a list"):
            _descriptor(entry, key)


def _descriptor(entry: Any, where: str) -> None:
    if not isinstance(entry, dict):
        raise _wrong(where, "an object")
    digests.check(entry.get("digest"))
    size = entry.get("size")
    if type(size) is not int or not 0 <= size < 1 << 63:
        raise _wrong(f"{where}.size", "a number of bytes")
    _texts(entry, ("mediaType", "artifactType"))
    _annotations(entry)
    _list_of_texts(entry, ("urls",))
    _data(entry)
    platform = _optional(entry, "platform", dict, "an object")
    _texts(platform, _PLATFORM_TEXTS)
    _list_of_texts(platform, _PLATFORM_LISTS)


def _data(entry: Json) -> None:
    """Content within the descriptor: base64 of as many bytes as it says."""
    if data := _optional(entry, "data", str, "a text"):
        try:
            found = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise _wrong("data", "base64") from None
        if len(found) != entry["size"]:
            raise _wrong("data", "as long as its size")


def _texts(document: Json, keys: Sequence[str]) -> None:
    for key in keys:
        if len(_optional(document, key, str, "a text")) > _MAX_TEXT:
            raise _wrong(key, f"{_MAX_TEXT} characters or fewer")


def _annotations(document: Json) -> None:
    for value in _optional(document, "annotations", dict, "an object").values():
        if not isinstance(value, str):
            raise _wrong("annotations", "texts")


def _list_of_texts(document: Json, keys: Sequence[str]) -> None:
    for key in keys:
        if not all(isinstance(each, str) for each in _optional(document, key, list, "a list")):
            raise _wrong(key, "a list of texts")


def _optional(document: Json, key: str, kind: type, what: str) -> Any:
    """null is as good as nothing, as it is to Go's clients."""
    found = document.get(key)
    if found is None:
        return kind()
    if not isinstance(found, kind):
        raise _wrong(key, what)
    return found


def _wrong(key: str, what: str) -> Invalid:
    return Invalid(f"manifest invalid: {key} has to be {what}")
