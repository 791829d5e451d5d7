"""The body of POST /volumes/create."""

from __future__ import annotations

from corten.spec.docker.struct import Struct


class VolumeCreate(Struct, go="volume.CreateOptions"):
    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
