"""application/vnd.buildkit.cacheconfig.v0: layers by their blobs, records by the key of what made them. Pure.

    {"layers": [{"blob": DIGEST, "parent": -1}, {"blob": DIGEST, "parent": 0}],
     "records": [{"digest": KEY, "layers": [{"layer": 1, "createdAt": TIME}]}]}

An image can have the records in its own configuration, as base64 under "moby.buildkit.cache.v0": layers are then those
of the image, each on the one before. BuildKit's own records lead to others by `inputs`, and its digests are of
operations: they are passed over here, and ours there.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from corten.errors import Invalid
from corten.spec import digest as digests
from corten.spec.image_config import INLINE_CACHE, parse_config
from corten.spec.json import Json
from corten.spec.oci_image import MAX_LAYERS, MAX_MANIFEST

MEDIA_TYPE = "application/vnd.buildkit.cacheconfig.v0"
_MOST = 10_000  # layers, and records
_RESULTS = 16  # of a record


@dataclass(frozen=True, slots=True)
class CacheLayer:
    """`parent` is the number of the layer below, -1 for none."""

    blob: str
    parent: int


@dataclass(frozen=True, slots=True)
class CacheResult:
    """`layer` is the number of the topmost layer; `created` is RFC 3339, or ""."""

    layer: int
    created: str


@dataclass(frozen=True, slots=True)
class CacheConfig:
    layers: tuple[CacheLayer, ...]
    records: Mapping[str, tuple[CacheResult, ...]]  # by key

    def chain(self, top: int) -> tuple[str, ...]:
        """The blobs of a result, lowest first. Raises Invalid for one without end."""
        found = list[str]()
        while top >= 0:
            if len(found) >= MAX_LAYERS:
                raise Invalid(f"a record of a cache has more than {MAX_LAYERS} layers")
            found.append(self.layers[top].blob)
            top = self.layers[top].parent
        return tuple(reversed(found))


def parse(body: bytes) -> CacheConfig:
    """Raises Invalid."""
    document = _object(body, "cache configuration")
    layers = tuple(_layer(each) for each in _list(document.get("layers")))
    if any(layer.parent >= len(layers) for layer in layers):
        raise Invalid("a layer of a cache lies on one that is none")
    return CacheConfig(layers, _records(_list(document.get("records")), len(layers)))


def parse_inline(body: bytes, blobs: Sequence[str]) -> tuple[CacheConfig, tuple[str, ...]]:
    """Of an image's configuration, whose manifest has these layers; and its diff ids. No records: it has no cache.

    Raises Invalid.
    """
    diff_ids = parse_config(body).diff_ids
    if len(diff_ids) != len(blobs):
        raise Invalid(f"image has {len(blobs)} layers, but its configuration names {len(diff_ids)}")
    layers = tuple(CacheLayer(blob, at - 1) for at, blob in enumerate(blobs))
    text = _object(body, "image configuration").get(INLINE_CACHE)
    if text is None:
        return CacheConfig(layers, {}), diff_ids
    try:
        found = msgspec.json.decode(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise Invalid("the cache in an image's configuration is malformed") from error
    return CacheConfig(layers, _records(_list(found), len(layers))), diff_ids


def render(found: CacheConfig) -> bytes:
    """The same configuration gives the same bytes."""
    layers = [{"blob": layer.blob, "parent": layer.parent} for layer in found.layers]
    return msgspec.json.encode({"layers": layers, "records": _rendered(found)})


def render_inline(found: CacheConfig) -> str:
    """What an image's configuration has under INLINE_CACHE. The layers of `found` are the image's."""
    return base64.b64encode(msgspec.json.encode(_rendered(found))).decode()


def _rendered(found: CacheConfig) -> list[Json]:
    return [
        {"layers": [{"layer": each.layer, "createdAt": each.created} for each in results], "digest": key}
        for key, results in sorted(found.records.items())
    ]


def _layer(entry: Any) -> CacheLayer:
    if not isinstance(entry, dict):
        raise Invalid("a layer of a cache is no object")
    return CacheLayer(digests.check(entry.get("blob")), _number(entry.get("parent", 0), -1))


def _records(entries: Sequence[Any], layers: int) -> dict[str, tuple[CacheResult, ...]]:
    found: dict[str, tuple[CacheResult, ...]] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            raise Invalid("a record of a cache is no object")
        if entry.get("inputs"):  # BuildKit's own
            continue
        key = digests.check(entry.get("digest"))
        results = tuple(_result(each, layers) for each in _list(entry.get("layers"))[:_RESULTS])
        found[key] = (*found.get(key, ()), *results)[:_RESULTS]
    return found


def _result(entry: Any, layers: int) -> CacheResult:
    if not isinstance(entry, dict):
        raise Invalid("a result of a cache is no object")
    layer, created = _number(entry.get("layer", 0), 0), entry.get("createdAt") or ""
    if layer >= layers or not isinstance(created, str) or len(created) > 64:
        raise Invalid("a result of a cache is malformed")
    return CacheResult(layer, created)


def _number(value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < _MOST:
        raise Invalid("a cache has a number that cannot be")
    return value


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MOST:
        raise Invalid(f"a cache has no list, or one of more than {_MOST} entries, where there is to be one")
    return value


def _object(body: bytes, what: str) -> Json:
    if len(body) > 2 * MAX_MANIFEST:
        raise Invalid(f"{what} is larger than {2 * MAX_MANIFEST} bytes")
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"{what} is not JSON") from error
    if not isinstance(found, dict):
        raise Invalid(f"{what} is no object")
    return found
