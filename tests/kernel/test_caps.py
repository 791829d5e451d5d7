"""Capabilities of real processes: a child takes them on, and says what it then has."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from corten.kernel import caps, process

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="giving capabilities away needs some")


def in_child(work: Callable[[], object]) -> str:
    """What `work` returns or raises, as text, from a child."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            answer = repr(work())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        answer = file.read()
    os.waitpid(pid, 0)
    return answer


def status(field: str) -> frozenset[str]:
    with open("/proc/thread-self/status") as file:
        return caps.unmask(next(int(line.split()[1], 16) for line in file if line.startswith(field)))


def test_what_we_read_is_what_proc_says() -> None:
    sets = caps.capget()
    assert sets.effective == status("CapEff") == caps.effective()
    assert sets.permitted == status("CapPrm")
    assert sets.inheritable == status("CapInh")
    assert caps.bounding() == status("CapBnd")
    with open("/proc/sys/kernel/cap_last_cap") as file:
        assert caps.last_cap() == int(file.read())


def test_apply() -> None:
    keep = {"CAP_CHOWN", "CAP_KILL"}

    def work() -> object:
        caps.drop_bounding(keep)
        left_out = caps.apply(keep, keep)
        sets = caps.capget()
        return sorted(left_out), *(sorted(one) for one in (*sets, caps.bounding(), status("CapAmb")))

    want = (["CAP_CHOWN", "CAP_KILL"],)
    assert in_child(work) == repr(([], *want * 2, [], *want, []))


def test_apply_ambient_and_after_setuid() -> None:
    """The order for another user: bounding, keep, user, the rest."""
    names = {"CAP_NET_BIND_SERVICE", "CAP_CHOWN"}

    def work() -> object:
        caps.drop_bounding(names)
        process.prctl(process.PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(1234, 1234, 1234)
        os.setresuid(1234, 1234, 1234)
        assert not caps.effective()
        caps.apply(names, names, names, {"CAP_CHOWN"})
        return sorted(status("CapAmb")), sorted(caps.effective()), sorted(status("CapInh")), sorted(caps.bounding())

    both = ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]
    assert in_child(work) == repr((["CAP_CHOWN"], both, both, both))


def test_what_is_not_ours_is_left_out_and_named() -> None:
    def work() -> object:
        few = {"CAP_CHOWN", "CAP_SETPCAP"}
        caps.apply(few, few)
        return sorted(caps.apply({"CAP_SYS_ADMIN", "CAP_CHOWN"}, {"CAP_SYS_ADMIN", "CAP_CHOWN"}))

    assert in_child(work) == "['CAP_SYS_ADMIN']"


def test_bounding_needs_setpcap() -> None:
    def work() -> object:
        caps.apply(["CAP_CHOWN"], ["CAP_CHOWN"])
        caps.drop_bounding(caps.bounding())
        caps.drop_bounding(["CAP_CHOWN"])
        return "dropped"

    assert "PermissionError" in in_child(work)


def test_unknown_name() -> None:
    with pytest.raises(ValueError):
        caps.mask(["CAP_FLY"])
    assert caps.unmask(1 << 63) == frozenset()
    assert caps.mask(caps.NAMES) == (1 << len(caps.NAMES)) - 1
