"""Pulling with progress, for `pull` and for `run` and `create` of an image that is not there."""

from __future__ import annotations

from corten.cli import progress
from corten.cli.output import err
from corten.client import images
from corten.client.api import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.session import Session
    from corten.client.errors import ApiError

DEFAULT_TAG = "latest"


def split(reference: str) -> tuple[str, str]:
    """(repository, tag or digest); the second is empty when there is none."""
    repository, at, digest = reference.partition("@")
    if at:
        return repository, digest
    head, colon, tag = reference.rpartition(":")
    # A colon in front of a slash belongs to the registry's port.
    return (head, tag) if colon and "/" not in tag else (reference, "")


def pull(
    session: Session, reference: str, fd: int, platform: str = "", every: bool = False, quiet: bool = False
) -> None:
    """Pull one image, or every tag of a repository, and show it on `fd`.

    Raises ApiError, or StreamError for an error while it runs.
    """
    from corten.cli import credentials as stored
    from corten.cli import userconfig

    repository, tag = split(reference)
    credentials = stored.header(session.config, userconfig.registry_of(repository))
    wanted = "" if every else tag or DEFAULT_TAG
    answer = images.pull(session.client, repository, wanted, platform, credentials)
    try:
        if quiet:
            for document in answer.documents():
                checked(document)
        else:
            progress.show(answer.documents(), fd)
    finally:
        answer.close()


def say_missing(image: str) -> None:
    """The tag is named even when the user left it to its default."""
    err(f"Unable to find image '{image if split(image)[1] else f'{image}:{DEFAULT_TAG}'}' locally")


def lacks_image(error: ApiError, image: str) -> bool:
    """A 404 may also name a network or a container to join. The API has no field to distinguish them."""
    text = str(error).lower()
    if text.startswith("image with reference"):  # it is here for another platform
        return True
    return "no such image" in text or ("image" in text and image.lower() in text and "not found" in text)
