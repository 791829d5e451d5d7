"""Definitions in LLB, as far as BuildKit's clients make them themselves: one source, or a file of the web that is
unpacked. They do so to look into a remote context before they build it, and to hand it over as an input.

A definition is operations in the order of need, the last of which only points to what is meant; inputs name the digest
of an operation's bytes. https://github.com/moby/buildkit/blob/master/solver/pb/ops.proto
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from corten.build.fetched import Fetch, GitFiles, WebFile
from corten.errors import Invalid, Unsupported
from corten.spec import git_url
from corten.spec.digest import is_digest
from corten.spec.git_url import GitUrl
from corten.spec.protobuf.control import Definition
from corten.spec.protobuf.gateway import FileActionCopy, Op, SourceOp

_MOST = 8  # operations
_WEB = ("http://", "https://")
_GIT = "git://"
_REFUSED = "definitions in LLB are not supported, but for a single source from git or the web"


def source_of(found: Definition) -> Fetch:
    """What a definition fetches. Raises Invalid for one that is none, Unsupported for another one."""
    if not 0 < len(found.operations) <= _MOST:
        raise Unsupported(_REFUSED)
    by_digest = {f"sha256:{hashlib.sha256(data).hexdigest()}": Op.decode(data) for data in found.operations}
    last = Op.decode(found.operations[-1])
    return _of(_only_input(last, by_digest), by_digest)


def address(found: Definition) -> str | GitUrl:
    """The same, as the address of a context."""
    source = source_of(found)
    if isinstance(source, WebFile):
        return source.url
    return replace(source.url, keep_git_dir=source.keep_git_dir)


def _only_input(op: Op, by_digest: Mapping[str, Op]) -> Op:
    if len(op.inputs) != 1 or op.inputs[0].index:
        raise Unsupported(_REFUSED)
    if op.inputs[0].digest not in by_digest:
        raise Invalid("an input of a definition is none of its operations")
    return by_digest[op.inputs[0].digest]


def _of(op: Op, by_digest: Mapping[str, Op]) -> Fetch:
    if op.source is not None and not op.inputs:
        return _source(op.source)
    if op.file is None or len(op.file.actions) != 1 or (copy := op.file.actions[0].copy) is None:
        raise Unsupported(_REFUSED)
    below = _only_input(op, by_digest)
    file = _source(below.source) if below.source is not None and not below.inputs else None
    if isinstance(file, WebFile) and _unpacks(copy, file):
        return WebFile(file.url, file.name, file.checksum, unpack=True)
    raise Unsupported(_REFUSED)


def _unpacks(copy: FileActionCopy, file: WebFile) -> bool:
    return copy.unpack and copy.source.strip("/") == file.name and copy.target == "/"


def of_source(op: SourceOp, name: str) -> Fetch:
    """A source alone; a file that has no name is called `name`. Raises Invalid, Unsupported."""
    named = {"http.filename": name, **op.attributes}
    return _source(SourceOp(op.identifier, named))


def _source(op: SourceOp) -> Fetch:
    if op.identifier.startswith(_GIT):
        return _repository(op)
    if op.identifier.startswith(_WEB):
        checksum = op.attributes.get("http.checksum", "")
        if checksum and not is_digest(checksum):
            raise Invalid(f"invalid checksum digest format: {checksum[:100]!r}")
        return WebFile(op.identifier, _name(op), checksum)
    raise Unsupported(_REFUSED)


def _name(op: SourceOp) -> str:
    name = op.attributes.get("http.filename", "")
    if not name or "/" in name or name in (".", "..") or "\0" in name or len(name.encode()) > 255:
        raise Invalid(f"invalid name of a file: {name[:100]!r}")
    return name


def _repository(op: SourceOp) -> GitFiles:
    remote, _, fragment = op.identifier.removeprefix(_GIT).partition("#")
    ref, _, subdir = fragment.partition(":")
    full = op.attributes.get("git.fullurl", "") or f"https://{remote}"
    url = git_url.explicit(
        full if "://" in full or "@" in full else f"https://{full}",
        ref,
        subdir,
        op.attributes.get("git.checksum", ""),
        op.attributes.get("git.skipsubmodules") != "true",
        op.attributes.get("git.mtime") == "commit",
    )
    return GitFiles(url, op.attributes.get("git.keepgitdir") == "true")
