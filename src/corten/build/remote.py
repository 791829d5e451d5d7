"""The words of ADD that are addresses of the web. Pure."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote, urlsplit

_UNNAMED = "__unnamed__"
_GIT = ("git://", "ssh://", "git@")
_MAX_NAME = 255  # bytes, NAME_MAX


def is_web(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def is_git(source: str) -> bool:
    """As BuildKit tells. To the classic builder nothing of an ADD is git."""
    plain = source.partition("#")[0].partition("?")[0]
    return source.startswith(_GIT) or (is_web(source) and plain.endswith(".git"))


def file_name(url: str, target: str, classic: bool) -> str:
    """The name of the file at a URL: the last part of its path. "" when there is none and `target`, being a directory,
    needs one by the classic builder's rules; BuildKit has a name for such a file."""
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:  # brackets that are no address
        path = ""
    name = posixpath.basename(path if classic else path.rstrip("/"))
    if name in ("", ".", "..") or "\0" in name or len(name.encode()) > _MAX_NAME:
        return "" if classic and target.endswith("/") else _UNNAMED
    return name
