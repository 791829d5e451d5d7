"""An image as containers see it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from corten.spec.docker import config as docker
from corten.spec.docker.decode import decode
from corten.spec.image_config import ImageConfig
from corten.spec.oci_image import Descriptor


@dataclass(frozen=True)
class Image:
    """`chain_id` is the tree of its last layer (None for an image without layers); names are in their familiar form;
    `size` in bytes, `created` RFC 3339; `layers` are its blobs, `manifest` is the digest of its manifest.
    """

    id: str
    config: ImageConfig
    chain_id: str | None
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size: int
    created: str
    layers: tuple[Descriptor, ...] = ()
    manifest: str = ""

    @cached_property
    def defaults(self) -> docker.ImageConfig:
        """What it says of its containers."""
        return decode(docker.ImageConfig, self.config.config)
