"""Addresses of git repositories, and what of them is refused because git or a path could take it for something else."""

from __future__ import annotations

import pytest

from corten.errors import Invalid
from corten.spec.git_url import GitUrl, is_commit, parse, submodule

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://host/x.git", GitUrl("https://host/x.git")),
        ("https://host/x.git#HEAD", GitUrl("https://host/x.git")),
        ("https://host/x.git#v1:a//b/./c/", GitUrl("https://host/x.git", "v1", "a/b/c")),
        ("https://host/x.git#:sub", GitUrl("https://host/x.git", "", "sub")),
        (
            "http://u:p%40w@host:8080/a/x.git#refs/pull/1/merge",
            GitUrl("http://u:p%40w@host:8080/a/x.git", "refs/pull/1/merge"),
        ),
        ("git://host/x#" + COMMIT, GitUrl("git://host/x", COMMIT)),
        ("SSH://git@host:22/x", GitUrl("ssh://git@host:22/x")),
        ("git@host:a/x.git?branch=b#refs/heads/b:s", GitUrl("git@host:a/x.git", "refs/heads/b", "s")),
        ("user@host:x#b", GitUrl("user@host:x", "b")),
        (
            "https://host/x.git?tag=v1&subdir=s&commit=ABCD12&keep-git-dir&submodules=0&mtime=commit",
            GitUrl("https://host/x.git", "refs/tags/v1", "s", "abcd12", True, False, True),
        ),
    ],
)
def test_addresses(text: str, found: GitUrl) -> None:
    assert parse(text) == found


@pytest.mark.parametrize(
    "text", ["https://host/x", "github.com/a/b", "a", "/a:b", "./x.git", "file:///x.git", "a b@c:d"]
)
def test_what_is_no_repository(text: str) -> None:
    assert parse(text) is None


def test_the_short_form_is_for_contexts() -> None:
    assert parse("github.com/a/b#main", short=True) == GitUrl("https://github.com/a/b", "main")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://host/x.git#-x", "invalid git ref"),
        ("https://host/x.git#a..b", "invalid git ref"),
        ("https://host/x.git#a*", "invalid git ref"),
        ("https://host/x.git#a%0ab", "invalid git ref"),
        ("https://host/x.git?ref=--output%3D/etc/passwd", "invalid git ref"),
        ("https://host/x.git#v:../..", "invalid subdir"),
        ("https://host/x.git#v:a/%2e%2e/b", "invalid subdir"),
        ("https://host/x.git#v:.git/hooks", "invalid subdir"),
        ("https://host/x.git?subdir=.GIT", "invalid subdir"),
        ("git://-oProxyCommand=x/y", "no host"),
        ("ssh://%2doProxyCommand=x/y", "no host"),
        ("ssh://-l@host/y", "no host"),
        ("git:///etc/passwd", "no host"),
        ("git@host:-x", "invalid address"),
        ("git@-host:x", "invalid address"),
        ("git://host/x y", "invalid address"),
        ("git://host:port/x", "invalid address"),
        ("git@host:" + "x" * 5000, "invalid address"),
        ("https://host/x.git?ref=a#b", 'ref conflicts: "b" vs "a"'),
        ("https://host/x.git?tag=a&branch=b", "conflicts"),
        ("https://host/x.git?ref=a&ref=a", "multiple values"),
        ("https://host/x.git?ref=", "has no value"),
        ("https://host/x.git?checksum=xyz", "expected hex commit hash"),
        ("https://host/x.git?depth=3", 'unexpected query "depth"'),
        ("https://host/x.git?keep-git-dir=maybe", "invalid keep-git-dir value"),
        ("https://host/x.git?mtime=now", "invalid mtime value"),
        ("https://host/x.git?" + "&".join("abcdefghijklmnopqrst"), "more than 16 fields"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        parse(text)


def test_passwords_are_not_shown() -> None:
    url = parse("https://u:p%40@host:1/x.git#r:s")
    assert url is not None
    assert (url.shown, url.address, url.host) == (
        "https://host:1/x.git#r:s",
        ("https://host:1/x.git", "u:p@"),
        "host:1",
    )
    ssh = parse("git@host:x")
    assert ssh is not None and (ssh.scheme, ssh.host, ssh.shown) == ("ssh", "host", "git@host:x")


@pytest.mark.parametrize(
    ("parent", "text", "remote"),
    [
        ("https://host/a/x.git", "../y.git", "https://host/a/y.git"),
        ("https://host/a/x.git/", "../../b/y", "https://host/b/y"),
        ("https://host/a/x.git", "./y", "https://host/a/x.git/y"),
        ("git@host:a/x", "../y", "git@host:a/y"),
        ("https://host/x.git", "git://other/y", "git://other/y"),
        ("https://host/x.git", "https://other/y?a#b", "https://other/y"),
    ],
)
def test_submodules(parent: str, text: str, remote: str) -> None:
    assert submodule(parent, text) == remote


@pytest.mark.parametrize(
    "text", ["file:///etc", "/etc/x", "ext::sh -c x", "-u./x", "ftp://host/x", "ssh://-o/x", "https://h/a b", "", "x"]
)
def test_submodules_that_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        submodule("https://host/a/x.git", text)
    with pytest.raises(Invalid):
        submodule("git@host:x", "../../../../.." + text)


def test_what_a_commit_is() -> None:
    assert is_commit(COMMIT) and is_commit("a" * 64)
    assert not any(map(is_commit, (COMMIT[1:], COMMIT.upper(), COMMIT + "\n", "a" * 50)))
