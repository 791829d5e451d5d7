"""Addresses of git repositories as Docker's builders have them:

    https://host/path.git#REF:SUBDIR          http too; only with .git at its path's end
    https://host/path.git?ref=R&subdir=S      also branch, tag, checksum (commit), keep-git-dir, submodules, mtime
    git://host/path, ssh://user@host/path
    git@host:path                             ssh, with any user
    github.com/owner/name                     https, where a directory could be meant as well

Pure, standard library only. What they name ends up on a command line and in a tree: a part that git could take for an
option, another transport, or a path that leads out of the repository is refused (CVE-2019-13139, CVE-2026-33748).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from corten.errors import Invalid
from corten.units.booleans import parse_bool

_SCHEMES = ("https", "http", "ssh", "git")
_SHORT = "github.com/"
_SCP = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_-]*)@([A-Za-z0-9.-]+):([^?#]*)(\?[^#]*)?(#.*)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?", re.ASCII)
_HEX = re.compile(r"[0-9A-Fa-f]{4,64}", re.ASCII)
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|^[-./]|[/.]$", re.ASCII)
_LONGEST = 4096  # characters
_FIELDS = 16  # of a query


@dataclass(frozen=True, slots=True)
class GitUrl:
    """`remote` is what git is given, `ref` a branch, tag, whole name of one, or commit ("": the default branch),
    `subdir` the directory that is wanted ("": all), `checksum` the beginning of the commit that it must be.
    `keep_git_dir` None: nothing is said. `commit_times`: files are as old as the commit."""

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool = True
    commit_times: bool = False

    @property
    def shown(self) -> str:
        """For people and logs: without a password."""
        shown = self.address[0] + (f"#{self.ref}" if self.ref or self.subdir else "")
        return shown + (f":{self.subdir}" if self.subdir else "")

    @property
    def address(self) -> tuple[str, str]:
        """The remote without user and password of http, and those ("" for none)."""
        parts = urlsplit(self.remote) if "://" in self.remote else None
        if parts is None or parts.scheme not in ("http", "https") or "@" not in parts.netloc:
            return self.remote, ""
        user, _, host = parts.netloc.rpartition("@")
        return parts._replace(netloc=host).geturl(), unquote(user)

    @property
    def scheme(self) -> str:
        return urlsplit(self.remote).scheme if "://" in self.remote else "ssh"

    @property
    def host(self) -> str:
        """With its port."""
        if "://" not in self.remote:
            return self.remote.partition(":")[0].rpartition("@")[2]
        return urlsplit(self.remote).netloc.rpartition("@")[2]


def is_commit(text: str) -> bool:
    """Whether it is the whole name of a commit: 40 hexadecimal digits, or 64."""
    return _COMMIT.fullmatch(text) is not None


def checksum(text: str) -> str:
    """The beginning of a commit's name. Raises Invalid."""
    if not _HEX.fullmatch(text):
        raise Invalid(f"invalid checksum {text[:100]} for Git URL, expected hex commit hash")
    return text.lower()


def parse(text: str, short: bool = False) -> GitUrl | None:
    """None for what is no repository's address. `short`: github.com/owner/name is one. Raises Invalid."""
    if short and text.startswith(_SHORT):
        text = f"https://{text}"
    elif not _is_git(text):
        return None
    _refuse_odd(text)
    remote, query, fragment = _scp(text) or _url(text)
    ref, _, subdir = fragment.partition(":")
    return _checked(_with_query(GitUrl(remote, ref, subdir), query))


def explicit(
    remote: str, ref: str, subdir: str, checksum: str, submodules: bool = True, commit_times: bool = False
) -> GitUrl:
    """Of its parts; a query or fragment of the remote says nothing beside them. Raises Invalid."""
    _refuse_odd(remote)
    plain = (_scp(remote) or _url(remote))[0]
    return _checked(GitUrl(plain, ref, subdir, checksum, None, submodules, commit_times))


def submodule(parent: str, text: str) -> str:
    """The remote of a submodule whose parent's is `parent`, which "./" and "../" in the beginning go by. Raises
    Invalid for a transport that is none of ours."""
    base, rest = parent.rstrip("/"), text
    while rest.startswith(("./", "../")):
        if rest.startswith("../"):
            above, slash, _ = base.rpartition("/")
            base = above if slash else base.rpartition(":")[0]
        rest = rest.partition("/")[2]
    remote = f"{base}/{rest}" if rest != text else text
    if ":" not in remote or any(ord(character) <= 0x20 for character in remote) or len(remote) > _LONGEST:
        raise Invalid(f"invalid address of a submodule: {text[:100]!r}")
    found = _scp(remote) or _url(remote)
    return found[0]


def _refuse_odd(text: str) -> None:
    if len(text) > _LONGEST or any(ord(character) <= 0x20 or ord(character) == 0x7F for character in text):
        raise Invalid(f"invalid address of a git repository: {text[:100]!r}")


def _is_git(text: str) -> bool:
    scheme, separator, _ = text.partition("://")
    scheme = scheme.lower()
    if separator and scheme in ("git", "ssh"):
        return True
    if separator and scheme in ("http", "https"):
        return text.partition("#")[0].partition("?")[0].endswith(".git")
    return not separator and _SCP.fullmatch(text) is not None


def _scp(text: str) -> tuple[str, str, str] | None:
    """Remote, query and fragment of USER@HOST:PATH."""
    found = None if "://" in text else _SCP.fullmatch(text)
    if found is None:
        return None
    user, host, path, query, fragment = found.groups("")
    if host.startswith("-") or path.startswith("-") or not path:
        raise Invalid(f"invalid address of a git repository: {text[:100]!r}")
    return f"{user}@{host}:{path}", query[1:], fragment[1:]


def _url(text: str) -> tuple[str, str, str]:
    try:
        parts = urlsplit(text)
        host, user, _ = parts.hostname or "", parts.username or "", parts.port
    except ValueError:
        raise Invalid(f"invalid address of a git repository: {text[:100]!r}") from None
    if parts.scheme not in _SCHEMES:
        raise Invalid(f"git over {parts.scheme[:20] or 'nothing'!r} is not supported: https, http, ssh and git are")
    if not host or unquote(host).startswith("-") or unquote(user).startswith("-"):
        raise Invalid(f"invalid address of a git repository: {text[:100]!r} has no host that can be asked")
    return _bare(parts), parts.query, unquote(parts.fragment)


def _bare(parts: SplitResult) -> str:
    return parts._replace(query="", fragment="").geturl()


def _with_query(found: GitUrl, query: str) -> GitUrl:
    """With what its query says, which must not contradict its fragment."""
    if not query:
        return found
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError:
        raise Invalid(f"the query of a git repository's address has more than {_FIELDS} fields") from None
    seen = set()
    for key, value in pairs:
        if key in seen:
            raise Invalid(f'query "{key[:100]}" has multiple values')
        seen.add(key)
        found = _with_field(found, key, value)
    if {"tag", "branch"} <= seen:
        raise Invalid("branch conflicts with tag")
    return found


def _with_field(found: GitUrl, key: str, value: str) -> GitUrl:
    match key:
        case "keep-git-dir":
            return replace(found, keep_git_dir=_switch(key, value))
        case "submodules":
            return replace(found, submodules=_switch(key, value))
        case "ref" | "tag" | "branch" | "subdir" | "checksum" | "commit" | "mtime" if not value:
            raise Invalid(f'query "{key}" has no value')
        case "ref":
            return replace(found, ref=_same("ref", found.ref, value))
        case "tag" | "branch":
            prefix = "refs/tags/" if key == "tag" else "refs/heads/"
            return replace(found, ref=_same("ref", found.ref, prefix + value.removeprefix(prefix)))
        case "subdir":
            return replace(found, subdir=_same("subdir", found.subdir, value))
        case "checksum" | "commit":
            return replace(found, checksum=_same("checksum", found.checksum, value))
        case "mtime" if value in ("checkout", "commit"):
            return replace(found, commit_times=value == "commit")
        case "mtime":
            raise Invalid(f'invalid mtime value: "{value[:100]}" (must be "checkout" or "commit")')
    raise Invalid(f'unexpected query "{key[:100]}"')


def _same(what: str, known: str, value: str) -> str:
    if known and known != value:
        raise Invalid(f'{what} conflicts: "{known[:100]}" vs "{value[:100]}"')
    return value


def _switch(key: str, value: str) -> bool:
    try:
        return parse_bool(value) if value else True
    except ValueError:
        raise Invalid(f'invalid {key} value: "{value[:100]}"') from None


def _checked(found: GitUrl) -> GitUrl:
    if found.ref and _NO_REF.search(found.ref):
        raise Invalid(f"invalid git ref: {found.ref[:100]!r}")
    parts = [part for part in found.subdir.split("/") if part not in ("", ".")]
    if ".." in parts or any(part.lower() == ".git" for part in parts) or "\0" in found.subdir:
        raise Invalid(f"invalid subdir of a git repository: {found.subdir[:100]!r}")
    ref = "" if found.ref == "HEAD" else found.ref
    return replace(found, ref=ref, subdir="/".join(parts), checksum=checksum(found.checksum) if found.checksum else "")
