"""The Container Device Interface, specification 0.8 (cncf-tags/container-device-interface, SPEC.md): a vendor's files
that say what a device needs in a container."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from corten.errors import Invalid

#: 1.0.0 is 0.8 under another name.
VERSIONS = frozenset({"0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0"})
_KIND = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?/[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?", re.ASCII)


class _Struct(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What this engine has not heard of is an error: the device would not work without it."""


class Node(_Struct):
    """A device file. What is not said is the host's: `type` "c" or "b", and the numbers."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


class Mount(_Struct):
    host_path: str
    container_path: str
    type: str = ""
    options: list[str] = []


class Hook(_Struct):
    hook_name: str
    path: str
    args: list[str] = []
    env: list[str] = []
    timeout: int | None = None


class Edits(_Struct):
    env: list[str] = []
    device_nodes: list[Node] = []
    mounts: list[Mount] = []
    hooks: list[Hook] = []
    additional_gids: list[int] = msgspec.field(default_factory=list, name="additionalGids")
    intel_rdt: dict[str, Any] = msgspec.field(default_factory=dict, name="intelRdt")


class Device(_Struct):
    name: str
    container_edits: Edits
    annotations: dict[str, str] = {}


class Document(_Struct):
    """One file. `container_edits` hold for each of its devices."""

    cdi_version: str = msgspec.field(name="cdiVersion")
    kind: str = ""
    devices: list[Device] = []
    container_edits: Edits = msgspec.field(default_factory=Edits)
    annotations: dict[str, str] = {}


class DeviceName(NamedTuple):
    """vendor.com/class=name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}={self.name}"


def parse_name(text: str) -> DeviceName:
    """Raises Invalid."""
    kind, equals, name = text.partition("=")
    if not equals or not _KIND.fullmatch(kind) or not _NAME.fullmatch(name):
        raise Invalid(f"invalid CDI device name {text!r}: it is VENDOR/CLASS=NAME")
    return DeviceName(kind, name)


def parse(content: Any) -> Document:
    """A file's content, decoded from JSON or YAML. Raises Invalid."""
    try:
        document = msgspec.convert(content, Document)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the second: a text with a lone surrogate
        raise Invalid(str(error)) from None
    if document.cdi_version not in VERSIONS:
        raise Invalid(f"CDI version {document.cdi_version!r} is not supported")
    if not _KIND.fullmatch(document.kind):
        raise Invalid(f"kind {document.kind!r} is not VENDOR/CLASS")
    for device in document.devices:
        if not _NAME.fullmatch(device.name):
            raise Invalid(f"device name {device.name!r} is invalid")
    return document
