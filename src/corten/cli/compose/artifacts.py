"""Projects that are OCI artifacts, for -f, include and extends: oci://REFERENCE.

The files lie in the user's cache, in a directory by the digest of what the reference names; a tag is asked for each
time, the files once.
"""

from __future__ import annotations

import asyncio
import os

from corten.cli.compose import cache
from corten.cli.compose.registries import Registries
from corten.compose.errors import ComposeError
from corten.compose.publishing import artifact
from corten.errors import CortenError
from corten.registry.client.documents import Fetched, manifest, small_blob
from corten.spec.oci_image import Descriptor
from corten.spec.reference import Reference, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from corten.cli.userconfig import UserConfig
    from corten.registry.client.repository import Repository

PREFIX = "oci://"


def fetch(place: str, environ: Mapping[str, str], config: UserConfig, insecure: Sequence[str] = ()) -> str:
    """The absolute path of the project's file. Raises ComposeError."""
    cache.check_enabled(environ, "COMPOSE_EXPERIMENTAL_OCI_REMOTE", "OCI")
    try:
        reference = parse(place.removeprefix(PREFIX)).tagged
        directory = asyncio.run(_fetched(reference, environ, config, insecure))
    except ComposeError:
        raise
    except (CortenError, OSError) as error:
        raise ComposeError(f'failed to pull OCI resource "{place.removeprefix(PREFIX)}": {error}') from None
    return os.path.join(directory, artifact.MAIN)


async def _fetched(
    reference: Reference, environ: Mapping[str, str], config: UserConfig, insecure: Sequence[str]
) -> str:
    async with Registries(config, insecure) as registries:
        repository = registries.repository(reference)
        top = await manifest(repository, reference)
        name = top.digest.partition(":")[2]
        if (kept := cache.find(environ, name)) is None:
            kept = cache.keep(environ, name, await _files(repository, reference, top))
        return kept


async def _files(repository: Repository, reference: Reference, top: Fetched) -> dict[str, bytes]:
    place = str(reference)
    if (digest := artifact.project_in(top.body, place)) is not None:
        top = await manifest(repository, reference.with_digest(digest))
    entries = artifact.entries(top.body, place)
    found = []
    for each in entries:
        blob = Descriptor(each.media_type, each.digest, each.size)
        found.append((each, await small_blob(repository, blob, each.size)))
    return artifact.unpacked(found, place)
