"""What is asked of git for a build: which commit a name is, and the files of a commit with those of its submodules.

All that a server says is hostile: the size of a tree is looked at before it is checked out (a small repository can be
billions of files), submodules are fetched here one by one, in numbers and depths that are bounded, and no path of a
tree is followed through a link.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from corten.errors import Failed, Invalid, NotFound
from corten.kernel import paths
from corten.layers.limits import LONGEST_PATH
from corten.spec import git_url
from corten.supervisor import git_kept, jail
from corten.supervisor.git_program import Git

_TREE = f"{jail.WORK}/tree"
_ENTRIES = 2_000_000
_SUBMODULES = 100
_DEPTH = 10  # of submodules in one another
_MODULES = 1 << 20  # bytes of a .gitmodules
_GIT = f"{_TREE}/.git"
_LINK = b"160000 commit "
_LINE = LONGEST_PATH + 200  # bytes of an entry with its mode, kind, id and size


class Wanted(NamedTuple):
    """`ref` is the whole name of what `commit` was found by, "" for none; `remote` has no password, `most` is bytes of
    all files, and of all that is fetched."""

    remote: str
    commit: str
    ref: str
    subdir: str
    keep_git_dir: bool
    submodules: bool
    commit_times: bool
    most: int


def resolve(git: Git, ref: str) -> dict[str, str]:
    """{"commit", "ref": its whole name, "tag": the annotated tag's own id or ""}. A branch goes before a tag of its
    name. Raises NotFound, Failed."""
    names = [ref, ref + "^{}"] if ref else ["HEAD"]
    said = git.run("ls-remote", "-q", "--", "origin", *names).decode("utf-8", "replace")
    found = {}
    for line in said.splitlines():
        id, tab, name = line.partition("\t")
        if tab and git_url.is_commit(id):
            found[name] = id
    whole = "refs/" + ref.removeprefix("refs/")
    candidates = [whole, "refs/heads/" + ref.removeprefix("refs/heads/"), "refs/tags/" + ref.removeprefix("refs/tags/")]
    for name in candidates if ref else ["HEAD"]:
        if name in found:
            peeled = found.get(name + "^{}")
            return {"commit": peeled or found[name], "ref": name, "tag": found[name] if peeled else ""}
    raise NotFound(f"repository does not contain ref {ref or 'HEAD'}")


def checkout(git: Git, wanted: Wanted, kept: bool) -> int:
    """A descriptor of the directory that is wanted. What is `kept` of the repository is not fetched again, and is more
    afterwards. Raises NotFound, Invalid, Failed, Unavailable."""
    os.mkdir(_TREE, 0o755)
    _Checkout(git, wanted, kept).run()
    if wanted.keep_git_dir and not wanted.subdir:
        _leave_repository(git, wanted.remote)
    else:
        shutil.rmtree(_GIT)
    top = os.open(_TREE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return _inside(top, wanted.subdir) if wanted.subdir else top


class _Checkout:
    def __init__(self, git: Git, wanted: Wanted, kept: bool) -> None:
        self._git = git
        self._wanted = wanted
        self._kept = kept
        self._entries = self._size = self._fetched = self._modules = 0

    def run(self) -> None:
        wanted = self._wanted
        self._bring(_GIT, _TREE, wanted.commit, wanted.ref, wanted.remote, 0)
        if wanted.commit_times:
            _set_times(int(self._git.run("log", "-1", "--format=%ct", wanted.commit, repository=_GIT)))

    def _bring(self, repository: str, tree: str, commit: str, ref: str, remote: str, depth: int) -> None:
        """Fetch a commit, put its files into `tree`, and those of its submodules into them."""
        git = self._git
        kind = ["--object-format=sha256"] if len(commit) == 64 else []
        git.run("init", "-q", "--template=", *kind, repository=repository)
        kept = self._kept and not depth
        if kept:
            git_kept.borrow(git, repository, len(commit))
        self._fetch(repository, commit, ref, remote if depth else "origin")
        if kept:
            git_kept.keep(repository, commit)
        links = self._measured(repository, commit)
        git.run("checkout", "--progress", "-f", "--detach", commit, repository=repository, tree=tree)
        if links:
            self._bring_submodules(repository, tree, commit, links, remote, depth + 1)

    def _fetch(self, repository: str, commit: str, ref: str, remote: str) -> None:
        """The commit alone, as far as the server can: some give no commit by its id, or only whole histories."""
        git, how = self._git, ("fetch", "--no-tags", "--no-recurse-submodules", "--force", "--progress")
        tag = ref.startswith("refs/tags/")
        named = f"{ref}:{ref}" if tag else ref or commit
        try:
            git.run(*how, "--depth=1", "--", remote, named, repository=repository)
            git.run("cat-file", "-e", commit + "^{commit}", repository=repository)
        except Failed as first:
            try:
                # Objects alone (--dry-run): a file for each of a server's millions of names would be its to have.
                everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
                git.run(*how, "--dry-run", "--", remote, *everything, repository=repository)
                if tag:
                    git.run(*how, "--", remote, named, repository=repository)
                git.run("cat-file", "-e", commit + "^{commit}", repository=repository)
            except Failed:
                raise first from None
        self._fetched += sum(file.stat().st_size for file in os.scandir(f"{repository}/objects/pack"))
        if self._fetched > self._wanted.most:
            raise Invalid(f"the repository has more than {self._wanted.most} bytes")

    def _measured(self, repository: str, commit: str) -> dict[bytes, str]:
        """Look at what the commit's tree will be, and give its links to other repositories, where they are wanted:
        commits, by path."""
        links: dict[bytes, str] = {}

        def count(lines: list[bytes]) -> None:
            self._entries += len(lines)
            if self._entries > _ENTRIES:
                raise Invalid(f"the repository has more than {_ENTRIES} files and directories")
            for line in lines if self._wanted.submodules else ():
                if line.startswith(_LINK):
                    id, _, path = line.removeprefix(_LINK).partition(b"\t")
                    links[path] = id.decode()
            if len(links) > _SUBMODULES:
                raise Invalid(f"there are more than {_SUBMODULES} submodules")

        def add(lines: list[bytes]) -> None:
            sizes = [line.partition(b"\t")[0].rpartition(b" ")[2] for line in lines]
            self._size += sum(int(size) for size in sizes if size != b"-")
            if self._size > self._wanted.most:
                raise Invalid(f"the repository's files have more than {self._wanted.most} bytes")

        self._listed(repository, commit, count, "-t")
        self._listed(repository, commit, add, "-l")  # which looks at each file
        return links

    def _listed(self, repository: str, commit: str, take: Callable[[list[bytes]], None], *how: str) -> None:
        rest = b""

        def split(piece: bytes) -> None:
            nonlocal rest
            *lines, rest = (rest + piece).split(b"\0")
            if any(len(line) > _LINE for line in (*lines, rest)):
                raise Invalid(f"the repository has a path of more than {LONGEST_PATH} bytes")
            take(lines)

        self._git.feed(split, "ls-tree", "-r", "-z", "--full-tree", *how, commit, repository=repository)

    # ----------------------------------------------------------------------------------------------------- submodules

    def _bring_submodules(
        self, repository: str, tree: str, commit: str, links: dict[bytes, str], remote: str, depth: int
    ) -> None:
        if depth > _DEPTH:
            raise Invalid(f"submodules are more than {_DEPTH} deep in one another")
        urls = self._urls(repository, commit)
        top = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for path, wanted in links.items():
                if path not in urls:
                    raise Invalid(f"no url found for submodule path {os.fsdecode(path)[:200]!r} in .gitmodules")
                self._modules += 1
                if self._modules > _SUBMODULES:
                    raise Invalid(f"there are more than {_SUBMODULES} submodules")
                os.close(_inside(top, os.fsdecode(path)))  # which nothing else changes
                own = f"{jail.WORK}/modules/{self._modules}"
                os.makedirs(own)
                below = git_url.submodule(remote, urls[path])
                self._bring(f"{own}/.git", f"{tree}/{os.fsdecode(path)}", wanted, "", below, depth)
        finally:
            os.close(top)

    def _urls(self, repository: str, commit: str) -> dict[bytes, str]:
        """Of submodules, by their paths."""
        blob = f"--blob={commit}:.gitmodules"
        try:
            said = self._git.run("config", blob, "--list", "-z", "--no-includes", repository=repository, most=_MODULES)
        except Failed as error:
            raise Invalid(f"the repository has submodules, and no .gitmodules that can be read: {error}") from None
        sections: dict[bytes, dict[bytes, bytes]] = {}
        for entry in said.split(b"\0"):
            key, _, value = entry.partition(b"\n")
            section, _, name = key.rpartition(b".")
            if section.startswith(b"submodule.") and name in (b"path", b"url"):
                sections.setdefault(section, {})[name] = value
        whole = [found for found in sections.values() if len(found) == 2]
        return {found[b"path"]: found[b"url"].decode("utf-8", "replace") for found in whole}


def _inside(top: int, path: str) -> int:
    """A directory of the tree, which no link leads to."""
    try:
        fd = paths.open_without_links(top, path)
    except FileNotFoundError:
        raise NotFound(f"{path[:200]} is not in the repository") from None
    except OSError as error:
        reason = "is a link, or behind one" if error.errno == errno.ELOOP else os.strerror(error.errno or 0).lower()
        raise Invalid(f"{path[:200]} is no directory of the repository: {reason}") from None
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    except NotADirectoryError:
        raise Invalid(f"{path[:200]} is no directory of the repository") from None
    finally:
        os.close(fd)


def _set_times(seconds: int) -> None:
    for directory, directories, files in os.walk(_TREE, topdown=False):
        for name in (*directories, *files):
            with suppress(FileNotFoundError):
                os.utime(f"{directory}/{name}", (seconds, seconds), follow_symlinks=False)


def _leave_repository(git: Git, remote: str) -> None:
    """As one that people can go on with: where it came from, without what differs each time."""
    for name, value in (("url", remote), ("fetch", "+refs/heads/*:refs/remotes/origin/*")):
        git.run("config", f"remote.origin.{name}", value, repository=_GIT)
    for name in ("FETCH_HEAD", "ORIG_HEAD"):
        with suppress(FileNotFoundError):
            os.unlink(f"{_GIT}/{name}")
