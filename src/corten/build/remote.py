"""The words of ADD that are addresses of the web. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from corten.errors import Invalid
from corten.spec import git_url
from corten.spec.digest import is_digest
from corten.spec.git_url import GitUrl

_UNNAMED = "__unnamed__"
_MAX_NAME = 255  # bytes, NAME_MAX


def is_web(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def is_git(source: str) -> bool:
    """As BuildKit tells. To the classic builder nothing of an ADD is git. What is wrong with it is said later."""
    try:
        return git_url.parse(source) is not None
    except Invalid:
        return True


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


def file_checksum(checksum: str) -> str:
    """--checksum of a file, as it is. Raises Invalid."""
    if checksum and not (is_digest(checksum) and checksum.startswith("sha256:")):
        raise Invalid(f"invalid checksum digest format: {checksum[:100]!r}")
    return checksum


def repository(url: GitUrl, checksum: str, keep_git_dir: bool | None) -> tuple[GitUrl, bool]:
    """With --checksum, and whether its .git is kept: flags and address must not contradict each other. Raises
    Invalid."""
    if keep_git_dir is not None and url.keep_git_dir not in (None, keep_git_dir):
        raise Invalid("inconsistent keep-git-dir configuration")
    if checksum and url.checksum not in ("", checksum.lower()):
        raise Invalid(f'checksum mismatch "{checksum[:100]}" != "{url.checksum}"')
    keep = bool(keep_git_dir if url.keep_git_dir is None else url.keep_git_dir)
    return replace(url, checksum=git_url.checksum(checksum) if checksum else url.checksum), keep
