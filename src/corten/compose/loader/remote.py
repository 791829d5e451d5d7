"""Files that are not of this machine: git repositories and OCI artifacts."""

from __future__ import annotations

from corten.errors import Invalid


def is_remote(place: str) -> bool:
    """oci://REFERENCE, or the address of a git repository (also github.com/owner/name, where no such file is)."""
    if place.startswith("oci://"):
        return True
    if not ("://" in place or "@" in place or place.startswith("github.com/")):
        return False
    from corten.spec import git_url

    try:
        return git_url.parse(place, short=True) is not None
    except Invalid:
        return True
