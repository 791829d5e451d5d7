"""Device programs in a real kernel: any v2 tree takes them, also the empty one of a hybrid machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from corten.kernel import bpf, cgroupfs
from corten.runtime import cgroups
from corten.runtime.cgroups import devices, v2

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root")


@pytest.fixture
def group() -> Iterator[int]:
    tree = cgroups.detect().unified
    if tree is None:
        pytest.skip("no cgroup2 is mounted")
    path = f"{tree.mountpoint}/corten-bpf-{os.getpid()}"
    os.mkdir(path)
    directory = cgroupfs.open_directory(path)
    try:
        yield directory
    finally:
        os.close(directory)
        os.rmdir(path)


def opens(group: int, path: str, flags: int) -> bool:
    pid = os.fork()
    if not pid:
        code = 2
        try:
            cgroupfs.write(group, "cgroup.procs", 0)
            os.close(os.open(path, flags))
            code = 0
        except PermissionError:
            code = 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 1)
    return code == 0


def attached(group: int) -> int:
    found = bpf.query(group)
    for fd in found:
        os.close(fd)
    return len(found)


def test_attach_replace_detach(group: int) -> None:
    none, all_ = (bpf.load(devices.program((devices.Rule(allow, "a", -1, -1, 7),))) for allow in (False, True))
    try:
        assert attached(group) == 0
        assert opens(group, "/dev/zero", os.O_RDONLY)
        bpf.attach(group, none)
        assert attached(group) == 1
        assert not opens(group, "/dev/zero", os.O_RDONLY)
        bpf.attach(group, all_, replace=none)
        assert attached(group) == 1
        assert opens(group, "/dev/zero", os.O_RDONLY)
        bpf.attach(group, none)  # beside it: both have to agree
        assert attached(group) == 2
        assert not opens(group, "/dev/zero", os.O_RDONLY)
        bpf.detach(group, none)
        assert opens(group, "/dev/zero", os.O_RDONLY)
    finally:
        os.close(none)
        os.close(all_)


def test_docker_rules_and_an_update(group: int) -> None:
    closed = devices.parse([{"allow": False}]) + devices.ALWAYS
    v2.devices(group, closed)
    assert opens(group, "/dev/null", os.O_RDWR)
    assert not opens(group, "/dev/kmsg", os.O_RDONLY)
    v2.devices(group, (devices.Rule(False, "a", -1, -1, 7), devices.Rule(True, "c", 1, 11, devices.READ)))
    assert attached(group) == 1
    assert opens(group, "/dev/kmsg", os.O_RDONLY)
    assert not opens(group, "/dev/kmsg", os.O_WRONLY)
    assert not opens(group, "/dev/null", os.O_RDONLY)


def test_what_the_verifier_refuses() -> None:
    with pytest.raises(OSError, match="PROG_LOAD"):
        bpf.load(bytes(8))
