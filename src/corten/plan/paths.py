"""Paths inside a container, as text only: nothing here looks at a disk."""

from __future__ import annotations

import posixpath


def clean(path: str) -> str:
    """The path without `.`, `..`, doubled and trailing slashes.

    POSIX lets exactly two leading slashes mean something of their own and Python keeps them; to Linux, and to a
    comparison of mount points, they are one.
    """
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def ancestors(path: str) -> list[str]:
    """The path and everything above it but the root: "/a/b" gives ["/a/b", "/a"]."""
    parts = clean(path).strip("/").split("/")
    return ["/" + "/".join(parts[:count]) for count in range(len(parts), 0, -1)]
