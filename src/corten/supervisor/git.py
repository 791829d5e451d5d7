"""Short-lived children that ask a git server which commit a name is, or bring the files of a commit.

The child of the launcher waits for one of its own, jailed (`supervisor.jail`), whose end is the end of everything that
git has begun. A descriptor that both hold says to the daemon that all have ended.
"""

from __future__ import annotations

from typing import Any

from corten.layers import pack, tree
from corten.supervisor import git_checkout, jail, steps
from corten.supervisor.git_program import Git

Json = dict[str, Any]


def commit(request: Json, fds: list[int]) -> None:
    """Which commit request["ref"] is, see `git_checkout.resolve`. fds[1] is a directory to write to, fds[2] is held
    and gets what git says, fds[3] is an SSH agent's socket where there is one."""
    jail.begin(lambda mounts: _commit(request, fds[0], fds[2], mounts), jail.mounts(fds[1], *fds[3:]))


def files(request: Json, fds: list[int]) -> None:
    """The files of request["commit"], as a tar to fds[1]; fds[2:] are those of `commit` from its second on. With
    request["kept"] fds[4] is a directory for what later requests need not fetch again."""
    kept = fds.pop(4) if request["kept"] else -1
    agent = fds[4] if len(fds) > 4 else -1
    jail.begin(lambda mounts: _files(request, fds, mounts), jail.mounts(fds[2], agent, kept))


def _commit(request: Json, reply: int, said: int, mounts: jail.Mounts) -> None:
    def resolve() -> Json:
        return git_checkout.resolve(_jailed(request, said, mounts), request["ref"])

    steps.serve(reply, resolve, None)


def _files(request: Json, fds: list[int], mounts: jail.Mounts) -> None:
    found: list[int] = []

    def bring() -> Json:
        git = _jailed(request, fds[3], mounts)
        found.append(git_checkout.checkout(git, git_checkout.Wanted(**request["wanted"]), request["kept"]))
        return {}

    def send() -> Json:
        packer = pack.Packer(fds[1])
        packer.tree(tree.open_directory(b".", found[0]))
        packer.end()
        return {"left_out": packer.left_out}

    steps.serve(fds[0], bring, send)


def _jailed(request: Json, said: int, mounts: jail.Mounts) -> Git:
    jail.enter(mounts, request["most"])
    agent = any(place == jail.AGENT[1:] for place, _ in mounts)
    return Git(request["settings"], request["proxies"], agent, request["patience"], said)
