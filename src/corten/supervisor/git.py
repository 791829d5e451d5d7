"""Short-lived children that ask a git server which commit a name is, or bring the files of a commit.

The child of the launcher waits for one of its own, the first process of new namespaces and jailed there
(`supervisor.jail`), whose end is the end of everything that git has begun. A descriptor that both hold says to the
daemon that all have ended.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from corten.kernel import process as p
from corten.layers import pack, tree
from corten.supervisor import git_checkout, jail, steps
from corten.supervisor.git_program import Git

Json = dict[str, Any]
_NAMESPACES = p.CLONE_NEWPID | p.CLONE_NEWNS | p.CLONE_NEWIPC | p.CLONE_NEWUTS


def commit(request: Json, fds: list[int]) -> None:
    """Which commit request["ref"] is, see `git_checkout.resolve`. fds[1] is a directory to write to, fds[2] is held
    and gets what git says, fds[3] is an SSH agent's socket where there is one."""
    _begin(lambda mounts: _commit(request, fds[0], fds[2], mounts), jail.mounts(fds[1], *fds[3:]))


def files(request: Json, fds: list[int]) -> None:
    """The files of request["commit"], as a tar to fds[1]; fds[2:] are those of `commit` from its second on."""
    _begin(lambda mounts: _files(request, fds, mounts), jail.mounts(fds[2], *fds[4:]))


def _begin(work: Callable[[jail.Mounts], None], mounts: jail.Mounts) -> None:
    """Do it in a process of its own, and end when that has ended."""
    child = 0

    def end(*_: object) -> None:
        with suppress(ProcessLookupError, ChildProcessError):  # it has ended at the same time
            if child:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        os._exit(0)

    signal.signal(signal.SIGIO, end)  # the daemon has given the request up (`hangup`)
    p.unshare(_NAMESPACES)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        p.prctl(p.PR_SET_PDEATHSIG, signal.SIGKILL)
        work(mounts)
    os.waitpid(child, 0)
    os._exit(0)


def _commit(request: Json, reply: int, said: int, mounts: jail.Mounts) -> None:
    def resolve() -> Json:
        return git_checkout.resolve(_jailed(request, said, mounts), request["ref"])

    steps.serve(reply, resolve, None)


def _files(request: Json, fds: list[int], mounts: jail.Mounts) -> None:
    found: list[int] = []

    def bring() -> Json:
        git = _jailed(request, fds[3], mounts)
        found.append(git_checkout.checkout(git, git_checkout.Wanted(**request["wanted"])))
        return {}

    def send() -> Json:
        packer = pack.Packer(fds[1])
        packer.tree(tree.open_directory(b".", found[0]))
        packer.end()
        return {"left_out": packer.left_out}

    steps.serve(fds[0], bring, send)


def _jailed(request: Json, said: int, mounts: jail.Mounts) -> Git:
    jail.enter(mounts, request["most"])
    return Git(request["settings"], request["proxies"], len(mounts) > 1, request["patience"], said)
