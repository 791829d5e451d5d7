"""Sources of an ADD that are addresses: files of the web, repositories. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from corten.build.plan.graph import Node, Remote, Repository
from corten.build.plan.keys import digest
from corten.errors import Invalid
from corten.registry.client import archives
from corten.spec import git_url
from corten.spec.digest import is_digest
from corten.spec.dockerfile import instructions as d
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.glob import literal
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


def fetched(
    found: d.Copy | d.Add, origins: tuple[Node | None, ...], place: tuple[int, int], classic: bool
) -> tuple[Node | None, ...]:
    """The nodes that its sources come from, with those in place that are fetched. `place` tells the instruction apart
    from others. Raises DockerfileError."""
    if isinstance(found, d.Copy):
        _refuse(found, classic)
        return origins
    if found.checksum and len(found.sources) != 1:
        raise DockerfileError("checksum can't be specified for multiple sources", found.written.span)
    return tuple(_node(found, at, origin, place, classic) for at, origin in enumerate(origins))


def _refuse(found: d.Copy, classic: bool) -> None:
    for source in found.sources if not found.source else ():
        git = not classic and is_git(source)
        if git or is_web(source):
            what = "git ref" if git else "URL"
            raise DockerfileError(f"source can't be a {what} for COPY", found.written.span)


def _node(found: d.Add, at: int, origin: Node | None, place: tuple[int, int], classic: bool) -> Node | None:
    """What a source is fetched by, or `origin`."""
    url, span = found.sources[at], found.written.span
    id, lines = digest("remote", *place, at, url, found.target, found.checksum), (span.line, span.end)
    try:
        if not classic and (git := git_url.parse(url)) is not None:
            git, keep = repository(git, found.checksum, found.keep_git_dir)
            return Repository(id, git.shown, git, keep, lines)
        if not is_web(url):
            if found.checksum:
                raise Invalid("checksum requires HTTP(S) or Git sources")
            return origin
        file = file_name(url, found.target, classic)
        return Remote(id, archives.shown(url), url, file, file_checksum(found.checksum), lines)
    except Invalid as error:
        raise DockerfileError(str(error), span) from None


def unpacks(found: d.Add, node: Node | None) -> bool:
    """Whether archives are unpacked. Those that were fetched are files unless it is said."""
    return not isinstance(node, Remote | Repository) if found.unpack is None else found.unpack


def path_in(node: Node | None, path: str) -> str:
    """What an ADD copies of the tree that its source is."""
    match node:
        case Remote():
            return literal(node.file)
        case Repository():
            return "."
    return path
