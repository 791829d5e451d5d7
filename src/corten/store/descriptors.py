"""Descriptors of blobs as records have them (`Descriptor.to_json`)."""

from __future__ import annotations

import msgspec

from corten.spec.oci_image import Descriptor


class Recorded(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str
    digest: str
    size: int

    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, self.size)
