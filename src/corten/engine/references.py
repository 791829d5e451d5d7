"""Just enough of image references to compare two of them as people write them; the full grammar is the spec room's."""

from __future__ import annotations


def familiar(reference: str) -> str:
    """The short form that Docker shows: without docker.io and library, with a tag unless there is a digest."""
    name = reference.removeprefix("docker.io/").removeprefix("index.docker.io/").removeprefix("library/")
    if "@" in name or name.startswith("sha256:") or ":" in name.rpartition("/")[2]:
        return name
    return f"{name}:latest"


def same_repository(wanted: str, reference: str) -> bool:
    """`wanted` has no tag and names the repository of `reference`."""
    if ":" in wanted.rpartition("/")[2] or "@" in wanted:
        return False
    short = familiar(reference).partition("@")[0]
    head, colon, tag = short.rpartition(":")
    repository = head if colon and "/" not in tag else short
    return familiar(wanted).removesuffix(":latest") == repository
