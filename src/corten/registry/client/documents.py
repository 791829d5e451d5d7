"""Manifests and small blobs of a repository, verified."""

from __future__ import annotations

from dataclasses import dataclass

from corten.errors import Corrupt
from corten.registry.client.errors import Refused
from corten.registry.client.repository import Repository, Waiting, translate
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec.oci_image import Descriptor
from corten.spec.reference import Reference

_ACCEPT = ", ".join(oci_image.MANIFESTS + oci_image.INDEXES)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest or index as it was served; `digest` is what its bytes hash to."""

    body: bytes
    content_type: str
    digest: str


async def manifest(repository: Repository, reference: Reference, waiting: Waiting | None = None) -> Fetched:
    """What a tag or digest names.

    Raises NotFound; Unauthorized when access is refused; Unavailable or Failed when the registry does not serve it;
    Corrupt for a wrong digest.
    """
    wanted = reference.digest or reference.tag
    try:
        body, headers = await repository.small(
            f"manifests/{wanted}", {"Accept": _ACCEPT}, oci_image.MAX_MANIFEST, waiting
        )
    except Refused as error:
        raise translate(error, reference.familiar, repository.name) from error
    digest = digests.of(body, digests.split(reference.digest)[0] if reference.digest else "sha256")
    if reference.digest and digest != reference.digest:
        raise Corrupt(f"manifest verification failed for digest {reference.digest}: got {digest}")
    claimed = headers.get("Docker-Content-Digest", "")
    if digests.is_digest(claimed) and claimed != digests.of(body, digests.split(claimed)[0]):
        raise Corrupt(f"registry says that {reference.familiar} is {claimed}, but it is {digest}")
    return Fetched(body, headers.get("Content-Type", ""), digest)


async def small_blob(repository: Repository, blob: Descriptor, limit: int) -> bytes:
    """A blob that is not to be kept."""
    try:
        body, _ = await repository.small(f"blobs/{blob.digest}", {}, limit, as_sent=True)
    except Refused as error:
        raise translate(error, blob.digest, repository.name) from error
    if digests.of(body, digests.split(blob.digest)[0]) != blob.digest:
        raise Corrupt(f"digest mismatch: registry serves something else as {blob.digest}")
    return body
