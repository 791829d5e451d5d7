"""Paths as texts, by the rules of Go's path and filepath packages."""

from __future__ import annotations

import posixpath


def cleaned(path: str) -> str:
    """Without doubled slashes, "." and ".."; "." for nothing."""
    found = posixpath.normpath(path)
    return found[1:] if found.startswith("//") else found


def joined(directory: str, path: str) -> str:
    """Both, cleaned; a `path` that begins with a slash stays below `directory`."""
    parts = [part for part in (directory, path) if part]
    return cleaned("/".join(parts)) if parts else ""


def expanded(path: str, home: str) -> str:
    """With the user's home directory for ~ at the beginning (also of "~x", as Compose does)."""
    return joined(home, path[1:]) if path.startswith("~") and home else path
