"""What tests ask a client of registries for: the repository a/b of a scripted one."""

from __future__ import annotations

from typing import Any

from corten.registry.client.registry import Registry
from corten.spec.oci_image import OCI_LAYER, Descriptor
from corten.spec.reference import parse
from image_parts.registries import Scripted
from image_parts.stores import digest

DATA = bytes(range(256)) * 20_000


async def blob(
    client: Registry, server: Scripted, data: bytes = DATA, auth: Any = None, size: int | None = None
) -> None:
    repository = client.repository(parse(f"{server.host}/a/b:1"), auth)
    await client.blob(repository, Descriptor(OCI_LAYER, digest(data), len(data) if size is None else size))


async def manifest(client: Registry, server: Scripted, tag: str = "1", auth: Any = None) -> bytes:
    reference = parse(f"{server.host}/a/b:{tag}")
    return (await client.manifest(client.repository(reference, auth), reference)).body
