"""The user of a guest's machine, for daemons that do not see each other's processes."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from corten.kernel import process as p
from corten.vm import confine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


def _daemon(reply: socket.socket) -> None:
    """In a PID namespace of its own: a machine's process, whose number and user are sent."""
    pid, _ = p.clone3(p.CLONE_NEWPID)
    if pid == 0:
        reply.send(f"{confine.user_of()}".encode())
        signal.pause()
    reply.send(f"{pid}".encode())
    signal.pause()


def test_daemons_in_different_pid_namespaces_give_different_users() -> None:
    seen: list[tuple[int, int]] = []
    daemons: list[tuple[int, int]] = []
    try:
        for _ in range(2):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with ours, theirs:
                daemons.append(p.clone3(p.CLONE_NEWPID))
                if daemons[-1][0] == 0:
                    try:
                        _daemon(theirs)
                    finally:
                        os._exit(1)
                theirs.close()
                one, other = sorted(int(ours.recv(100)) for _ in range(2))
                seen.append((one, other))
    finally:
        for pid, pidfd in daemons:
            if pid:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)  # all of its namespace end with it
                p.reap(pidfd)
    (first, user), (second, another) = seen
    assert first == second, "the same number in each namespace"
    assert user != another
    assert min(user, another) >= confine.USERS
