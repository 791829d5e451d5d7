"""Definitions in LLB that clients make of a single source; all others are refused, whatever they are."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from corten.build.fetched import GitFiles, WebFile
from corten.buildkit.llb import address, source_of
from corten.buildkit.results import definition, is_ours
from corten.errors import CortenError, Invalid, Unsupported
from corten.spec.git_url import GitUrl
from corten.spec.protobuf.control import Definition
from corten.spec.protobuf.gateway import FileAction, FileActionCopy, FileOp, Input, Op, SourceOp

GIT = {"git.fullurl": "https://host/x.git", "git.authtokensecret": "GIT_AUTH_TOKEN"}
COPY = FileActionCopy("context", "/", True)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def made(*ops: Op) -> Definition:
    """Each operation on the one before it, and the pointer to the last."""
    found: list[bytes] = []
    for op in (*ops, Op()):
        inputs = [Input(digest(found[-1]))] if found else []
        found.append(replace(op, inputs=inputs).encode())
    return Definition(found)


def source(identifier: str, attributes: dict[str, str] | None = None) -> Op:
    return Op(source=SourceOp(identifier, attributes or {}))


def test_a_repository() -> None:
    attributes = {**GIT, "git.keepgitdir": "true", "git.checksum": "ABCD12", "git.skipsubmodules": "true"}
    found = source_of(made(source("git://host/x.git#v1:sub", attributes)))
    assert found == GitFiles(GitUrl("https://host/x.git", "v1", "sub", "abcd12", None, False), True)
    assert address(made(source("git://host/x.git", GIT))) == GitUrl("https://host/x.git", keep_git_dir=False)
    more = source_of(made(source("git://host/x.git#v1", {"git.fullurl": "https://host/x.git?ref=a#b"})))
    assert more == GitFiles(GitUrl("https://host/x.git", "v1"), False)
    short = source_of(made(source("git://github.com/a/b", {"git.fullurl": "github.com/a/b"})))
    assert isinstance(short, GitFiles) and short.url.remote == "https://github.com/a/b"


def test_a_file_and_what_is_in_it() -> None:
    web = source("https://host/x.tar", {"http.filename": "context"})
    assert source_of(made(web)) == WebFile("https://host/x.tar", "context")
    assert source_of(made(web, Op(file=FileOp([FileAction(COPY)])))) == WebFile(
        "https://host/x.tar", "context", "", unpack=True
    )
    assert address(made(web)) == "https://host/x.tar"


def test_ours_is_another() -> None:
    assert is_ours(definition("id")) and not is_ours(made(source("git://host/x", GIT))) and not is_ours(Definition())


WEB = source("https://host/x", {"http.filename": "context"})


@pytest.mark.parametrize(
    ("found", "error"),
    [
        (Definition(), Unsupported),
        (Definition([b""]), Unsupported),
        (Definition([b"\xff"]), Invalid),
        (Definition([b""] * 9), Unsupported),
        (Definition([Op([Input("sha256:" + "0" * 64)]).encode()]), Invalid),
        (Definition([WEB.encode(), Op([Input(digest(WEB.encode()), -1)]).encode()]), Unsupported),
        (made(Op()), Unsupported),
        (made(source("local://context")), Unsupported),
        (made(source("docker-image://x")), Unsupported),
        (made(source("https://host/x", {"http.filename": "../etc"})), Invalid),
        (made(source("https://host/x", {"http.filename": "a/b"})), Invalid),
        (made(source("https://host/x")), Invalid),
        (made(source("https://host/x", {"http.filename": "x", "http.checksum": "md5:1"})), Invalid),
        (made(source("git://host/x#--upload-pack=x", GIT)), Invalid),
        (made(source("git://host/x#r:../..", GIT)), Invalid),
        (made(source("git://host/x", {"git.fullurl": "file:///etc"})), Invalid),
        (made(source("git://host/x", {"git.fullurl": "ext::sh -c x"})), Invalid),
        (made(source("git://-oProxyCommand=x/y")), Invalid),
        (made(WEB, Op(file=FileOp([FileAction(COPY)] * 2))), Unsupported),
        (made(WEB, Op(file=FileOp([FileAction(replace(COPY, target="/etc"))]))), Unsupported),
        (made(WEB, Op(file=FileOp([FileAction(replace(COPY, unpack=False))]))), Unsupported),
        (made(WEB, WEB), Unsupported),
        (made(source("git://host/x", GIT), Op(file=FileOp([FileAction(COPY)]))), Unsupported),
    ],
)
def test_what_is_refused(found: Definition, error: type[CortenError]) -> None:
    with pytest.raises(error):
        source_of(found)


def test_an_operation_that_needs_itself_ends() -> None:
    """Digests cannot be chosen; a pointer to itself would have to be."""
    loop = Op([Input("sha256:" + "1" * 64)]).encode()
    with pytest.raises(Invalid):
        source_of(Definition([loop, Op([Input(digest(loop))]).encode(), loop]))
