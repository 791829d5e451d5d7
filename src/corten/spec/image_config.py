"""An image's configuration (OCI image specification 1.1, config.md; Docker image specification 1.3), typed at the door.

`parse_config` is the door: pull, load, import, commit and the images that are built in come through it. It takes and
refuses what dockerd does (`go_json`), in the words of its Go structures. From there on a configuration is an
ImageConfig. The blob keeps its bytes, whatever else is in them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from corten.errors import Invalid
from corten.spec import digest as digests
from corten.spec import go_json
from corten.spec.docker import config as docker
from corten.spec.docker.records import record_of
from corten.spec.go_types import (
    BOOL,
    INT64,
    STRING,
    STRINGS,
    TIME,
    Items,
    Number,
    Plain,
    Record,
    Table,
    Type,
)
from corten.spec.json import Json
from corten.spec.oci_image import MAX_CONFIG, MAX_LAYERS
from corten.spec.platform import Platform, named

INLINE_CACHE = "moby.buildkit.cache.v0"  # a field of ours and BuildKit's: what a cache of builds knows of the layers
CONFIG = record_of(docker.ImageConfig)
IMAGE = Record(
    "Image",
    "image.Image",
    {
        "id": STRING,
        "parent": Plain("image.ID"),
        "comment": STRING,
        "created": TIME,
        "container": STRING,
        "container_config": CONFIG,
        "docker_version": STRING,
        "author": STRING,
        "config": CONFIG,
        "architecture": STRING,
        "variant": STRING,
        "os": STRING,
        "Size": INT64,
        "rootfs": Record(
            "RootFS", "image.RootFS", {"type": STRING, "diff_ids": Items(Plain("layer.DiffID"), "[]layer.DiffID")}
        ),
        "history": Items(
            Record(
                "History",
                "image.History",
                {
                    "created": TIME,
                    "author": STRING,
                    "created_by": STRING,
                    "comment": STRING,
                    "empty_layer": BOOL,
                },
            ),
            "[]image.History",
        ),
        "os.version": STRING,
        "os.features": STRINGS,
    },
)


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one layer was made; `created` is RFC 3339, or "" when it is not said."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class RootFS(msgspec.Struct, frozen=True):
    """`diff_ids` are the digests of the layers' tars, bottom first."""

    type: str = "layers"
    diff_ids: tuple[str, ...] = ()


class ImageConfig(msgspec.Struct, frozen=True, omit_defaults=True, rename={"os_version": "os.version"}):
    """`config` has those fields of CONFIG that were sent and are not null, each of its type; so has `container_config`,
    which is of the `container` that the image was made of. `created` is RFC 3339, or "" when it is not said."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = ""
    created: str = ""
    author: str = ""
    comment: str = ""
    docker_version: str = ""
    container: str = ""
    container_config: Json = {}
    config: Json = {}
    rootfs: RootFS = RootFS()
    history: tuple[History, ...] = ()

    @property
    def diff_ids(self) -> tuple[str, ...]:
        return self.rootfs.diff_ids

    @property
    def labels(self) -> Mapping[str, str]:
        return self.config.get("Labels") or {}

    @property
    def platform(self) -> Platform | None:
        """None when it names none."""
        return named(self.os, self.architecture, self.variant)

    def to_bytes(self) -> bytes:
        """As a document, which is what a record keeps."""
        return msgspec.json.encode(self)


def parse_config(body: bytes) -> ImageConfig:
    """The configuration in `body`. Raises Invalid, in Go's words where a field has the wrong type."""
    if len(body) > MAX_CONFIG:
        raise Invalid(f"image configuration is larger than {MAX_CONFIG} bytes")
    document, error = go_json.read(go_json.loads(body, "image configuration"), IMAGE)
    if error is not None:
        raise error
    config = msgspec.convert(document or {}, ImageConfig)
    if "rootfs" not in (document or {}) or config.rootfs.type != "layers":
        raise Invalid("image configuration has no rootfs of type layers")
    if len(config.diff_ids) > MAX_LAYERS:
        raise Invalid(f"image configuration has more than {MAX_LAYERS} diff_ids")
    for diff_id in config.diff_ids:
        digests.check(diff_id)
    if len(layered(config.history)) > len(config.diff_ids):
        raise Invalid("too many non-empty layers in History section")
    return config


def layered(history: Sequence[History]) -> list[History]:
    """The entries that stand for a layer."""
    return [entry for entry in history if not entry.empty_layer]


def recorded(body: str) -> tuple[ImageConfig, Invalid | None]:
    """The configuration in a record, and what is wrong with it: the door was not always as narrow as it is.

    A field of a wrong type counts as not sent, so that everything else is known.
    """
    try:
        found = msgspec.json.decode(body, type=ImageConfig)
        for config in (found.config, found.container_config):
            msgspec.convert(config, _STORED)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _repaired(body)
    return found, None


def _repaired(body: str) -> tuple[ImageConfig, Invalid | None]:
    try:
        written = json.loads(body, object_pairs_hook=tuple)  # by Python, which also writes NaN and Infinity
    except (ValueError, RecursionError) as broken:
        return ImageConfig(), Invalid(f"image configuration is not JSON: {broken}")
    document, error = go_json.read(written, IMAGE)
    return msgspec.convert(document or {}, ImageConfig), error


def _python(kind: Type) -> Any:
    """The Python type whose values msgspec is to find for a Go type."""
    match kind:
        case Plain(boolean=boolean):
            return bool if boolean else str
        case Number(low=low, high=high):
            return Annotated[int, msgspec.Meta(ge=low, le=high)]
        case Items(element=element):
            inner: Any = _python(element)
            return list[inner]
        case Table(element=element):
            value: Any = _python(element)
            return dict[str, value]
        case Record(name=name, fields=fields):
            return msgspec.defstruct(
                name or "Empty", [(field, _python(inner) | None, None) for field, inner in fields.items()]
            )
        case _:
            raise AssertionError("a configuration has no times")


_STORED = _python(CONFIG)
