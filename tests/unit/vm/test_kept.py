"""Templates on the disk: what is not whole is none."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.kernel import memfd
from corten.vm import kept
from corten.vm.contract import Shape
from corten.vm.template import Template

SHAPE = Shape("/usr/bin/qemu", "tcg", 8 << 20, 8 << 20, 1)


@pytest.fixture
def template() -> Iterator[Template]:
    memory = memfd.empty("memory", SHAPE.memory)
    os.pwrite(memory, b"first", 0)
    os.pwrite(memory, b"middle", 3 << 20)
    found = Template(memory, memfd.holding("state", [b"state"]))
    yield found
    for fd in found:
        os.close(fd)


def _close(template: Template | None) -> None:
    for fd in template or ():
        os.close(fd)


def test_it_comes_back_with_its_holes_and_sealed(template: Template, tmp_path: Path) -> None:
    directory = tmp_path / "templates"
    kept.store(template, directory, "key")
    assert (directory / "key.memory").stat().st_blocks * 512 < 1 << 20
    found = kept.load(directory, "key", SHAPE)
    assert found is not None
    assert [os.pread(fd, 9 << 20, 0) for fd in found] == [os.pread(fd, 9 << 20, 0) for fd in template]
    assert os.fstat(found.memory).st_blocks * 512 < 1 << 20
    for fd in found:
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
    _close(found)


@pytest.mark.parametrize("name", ["key.memory", "key.state", "key.sum"])
def test_what_is_changed_or_missing_is_none(template: Template, tmp_path: Path, name: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    kept.store(template, tmp_path, "key")
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(b"\xff" + content[1:])
    assert kept.load(tmp_path, "key", SHAPE) is None
    (tmp_path / name).write_bytes(content[:-1])
    assert kept.load(tmp_path, "key", SHAPE) is None
    (tmp_path / name).unlink()
    assert kept.load(tmp_path, "key", SHAPE) is None
    (tmp_path / name).write_bytes(content)
    assert kept.load(tmp_path, "key", SHAPE._replace(memory=4 << 20)) is None
    _close(found := kept.load(tmp_path, "key", SHAPE))
    assert found is not None
    assert len(os.listdir("/proc/self/fd")) == before


def test_one_is_kept(template: Template, tmp_path: Path) -> None:
    (tmp_path / "older.memory.new").write_bytes(b"of a store that was killed")
    kept.store(template, tmp_path, "one")
    kept.store(template, tmp_path, "other")
    assert sorted(os.listdir(tmp_path)) == ["other.memory", "other.state", "other.sum"]


def test_a_full_disk_keeps_nothing(template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "sendfile", full)
    with pytest.raises(OSError, match="No space left"):
        kept.store(template, tmp_path, "key")
    assert os.listdir(tmp_path) == []
