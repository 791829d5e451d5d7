"""Volumes and devices of a service."""

from __future__ import annotations

from collections.abc import Mapping

from corten.compose.model.scalars import Bytes
from corten.compose.model.struct import Struct


class VolumeBind(Struct, frozen=True, kw_only=True):
    selinux: str = ""
    """z (shared) or Z (private)."""
    propagation: str = ""
    create_host_path: bool = False
    """Whether a source that is not there is made as a directory; true unless the file says false."""
    recursive: str = ""
    """enabled, disabled, writable or readonly."""


class VolumeOptions(Struct, frozen=True, kw_only=True):
    labels: Mapping[str, str] = {}
    nocopy: bool = False
    """Do not fill a new volume with what the image has at the target."""
    subpath: str = ""


class VolumeTmpfs(Struct, frozen=True, kw_only=True):
    size: Bytes = Bytes(0)
    mode: int = 0
    """Permissions as the number that the file has: 0o1777 is 1023."""


class VolumeImage(Struct, frozen=True, kw_only=True):
    subpath: str = ""


class ServiceVolume(Struct, frozen=True, kw_only=True):
    type: str = ""
    """bind, volume, tmpfs, image, npipe or cluster."""
    source: str = ""
    """bind: an absolute path; volume: the key below the project's `volumes`, "" for an anonymous one; image: its
    name."""
    target: str = ""
    """Where in the container; not always absolute (as the file has it)."""
    read_only: bool = False
    consistency: str = ""
    bind: VolumeBind | None = None
    volume: VolumeOptions | None = None
    tmpfs: VolumeTmpfs | None = None
    image: VolumeImage | None = None


class Device(Struct, frozen=True, kw_only=True):
    source: str = ""
    """A path of the host, or a CDI name (vendor.com/class=name)."""
    target: str = ""
    permissions: str = ""
    """Of r, w and m."""
