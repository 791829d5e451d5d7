"""What mount(2) is given for a volume, and how an entry of the specification says so."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from corten.kernel import mount as m
from corten.kernel import process as p
from corten.runtime import host_mounts, mountplan
from corten.runtime.host_mounts import HOST, SUBPATH, arguments


@pytest.mark.parametrize(
    ("words", "flags", "data"),
    [
        ("", 0, ""),
        ("addr=10.0.0.1,rw,nfsvers=4,soft", 0, "addr=10.0.0.1,nfsvers=4,soft"),
        ("addr=10.0.0.1,ro,noatime,hard", 1 | 1 << 10, "addr=10.0.0.1,hard"),
        ("username=u,password=p,vers=3.0,nosuid,nodev,noexec,sync", 2 | 4 | 8 | 16, "username=u,password=p,vers=3.0"),
        ("size=1m,mode=700,uid=5", 0, "size=1m,mode=700,uid=5"),
        ("ro,rw", 0, ""),
        ("defaults,relatime,dirsync", 1 << 21 | 128, ""),
    ],
)
def test_arguments_of_mount(words: str, flags: int, data: str) -> None:
    """As dockerd's: nfs and cifs get what is no flag as one text."""
    assert arguments(tuple(filter(None, words.split(",")))) == (flags, data)


class Kernel:
    """Records mount(2) instead of asking the kernel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: int = 0) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error = error
        monkeypatch.setattr(p, "unshare", lambda flags: self.calls.append(("unshare", flags)))
        monkeypatch.setattr(m, "set_propagation", lambda path, kind: self.calls.append(("propagation", path, kind)))
        monkeypatch.setattr(m, "mount", self.mount)
        monkeypatch.setattr(host_mounts, "_detached", self.take)

    def take(self, subpath: str) -> int:
        self.calls.append(("take", subpath))
        return 7

    def mount(self, *arguments: Any) -> None:
        self.calls.append(("mount", *arguments))
        if self.error:
            raise OSError(self.error, f"{os.strerror(self.error)} in mount({arguments})")


@pytest.mark.parametrize("fstype", ["nfs", "cifs"])
def test_a_volume_is_mounted_in_a_namespace_of_its_own(monkeypatch: pytest.MonkeyPatch, fstype: str) -> None:
    kernel = Kernel(monkeypatch)
    words = (HOST, "addr=10.0.0.1", "ro", "vers=4", SUBPATH + "a/b")
    entry = {"type": fstype, "source": ":/srv", "destination": "/data", "options": list(words)}
    plan = mountplan.parse(entry)
    assert (plan.kind, plan.fstype, plan.target, plan.data) == ("host", fstype, "/data", words)
    assert host_mounts.mount(plan.fstype, plan.source, plan.data) == 7
    assert kernel.calls == [
        ("unshare", p.CLONE_NEWNS), ("propagation", "/", m.MS_SLAVE),
        ("mount", ":/srv", "/sys", fstype, 1, "addr=10.0.0.1,vers=4"), ("take", "a/b"),
    ]  # fmt: skip


def test_what_the_kernel_refuses_is_said_without_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch, errno.ENODEV)
    with pytest.raises(OSError, match=r"\[Errno 19\] this machine has no file system 'nfs'$"):
        host_mounts.mount("nfs", ":/srv", (HOST, "password=secret"))
    Kernel(monkeypatch, errno.EINVAL)
    with pytest.raises(OSError, match=r"cannot mount '//host/share' of type 'cifs': Invalid argument$"):
        host_mounts.mount("cifs", "//host/share", (HOST, "password=secret"))
