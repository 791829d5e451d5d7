"""What is kept of a repository between builds: packs, and the commits whose files are whole in them.

    KEPT/objects/pack/*     as git has them
    KEPT/commits            ids, the newest first, one a line

A repository is made anew for each build and borrows from there (gitrepository-layout(5), objects/info/alternates), so
that no configuration, hook or name of an earlier one is in it. A server is asked all the same, as the one who asks, and
sends what is not here.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from corten.errors import Failed
from corten.spec.git_url import is_commit
from corten.supervisor import jail
from corten.supervisor.git_program import Git

_PACKS = f"{jail.KEPT}/objects/pack"
_COMMITS = f"{jail.KEPT}/commits"
_MOST = 16  # commits, all of which a server hears
_SIZE = 65 * _MOST
_SUFFIXES = (".pack", ".rev", ".idx")  # in this order: git looks for packs by the last


def borrow(git: Git, repository: str, length: int) -> None:
    """Let a new repository have what is kept. Where that is damaged it is thrown away."""
    commits = [commit for commit in _commits() if len(commit) == length]
    os.makedirs(_PACKS, exist_ok=True)
    if not commits:
        return
    os.makedirs(f"{repository}/objects/info", exist_ok=True)
    alternates = f"{repository}/objects/info/alternates"
    _write(alternates, f"{jail.KEPT}/objects\n")
    _write(f"{repository}/shallow", "".join(f"{commit}\n" for commit in sorted(commits)))  # their parents are not here
    os.makedirs(f"{repository}/refs/kept")
    try:
        for number, commit in enumerate(commits):
            git.run("cat-file", "-e", commit + "^{tree}", repository=repository)
            _write(f"{repository}/refs/kept/{number}", f"{commit}\n")
    except Failed:
        shutil.rmtree(f"{repository}/refs/kept")
        for path in (alternates, f"{repository}/shallow", _COMMITS):
            os.unlink(path)
        shutil.rmtree(_PACKS)
        os.makedirs(_PACKS)


def keep(repository: str, commit: str) -> None:
    """What was fetched, for the next time. A server without git behind it gives no packs: of that nothing is kept."""
    if any(len(name) == 2 for name in os.listdir(f"{repository}/objects")):
        return
    packs = f"{repository}/objects/pack"
    names = sorted(os.listdir(packs), key=lambda name: _SUFFIXES.index(end) if (end := _end(name)) else -1)
    for name in filter(_end, names):
        partial = f"{jail.KEPT}/partial"
        with suppress(FileNotFoundError):
            os.unlink(partial)
        shutil.copyfile(f"{packs}/{name}", partial)
        os.rename(partial, f"{_PACKS}/{name}")
    known = [each for each in _commits() if each != commit and len(each) == len(commit)]
    _write(f"{jail.KEPT}/partial", "".join(f"{each}\n" for each in [commit, *known][:_MOST]))
    os.rename(f"{jail.KEPT}/partial", _COMMITS)


def _end(name: str) -> str:
    return next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), "")


def _commits() -> list[str]:
    try:
        with open(_COMMITS, encoding="ascii", errors="replace") as file:
            return [line for line in file.read(_SIZE).splitlines() if is_commit(line)][:_MOST]
    except FileNotFoundError:
        return []


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
