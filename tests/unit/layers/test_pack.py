"""Files that others have something to do with, while they are packed."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from corten.layers.pack import Packer
from leases import leased


def test_a_leased_file_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content\n")
    os.mkfifo(tmp_path / "fifo")
    out, fd = os.memfd_create("tar"), os.open(tmp_path, os.O_RDONLY)
    try:
        with leased(tmp_path / "file", 0.2):
            packer = Packer(out)
            packer.tree(fd)
            packer.end()
        with tarfile.open(fileobj=io.BytesIO(os.pread(out, os.fstat(out).st_size, 0))) as tar:
            read = tar.extractfile("file")
            assert read is not None and read.read() == b"content\n"
            assert tar.getmember("fifo").isfifo()
    finally:
        os.close(out)
        os.close(fd)


def test_a_write_that_takes_only_a_part_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number}" for number in range(1500)]
    write = os.write
    for name in names:
        (tmp_path / name).write_text(name)
    taken: list[int] = []

    def part(out: int, data: memoryview) -> int:
        taken.append(write(out, data[:700]))
        return taken[-1]

    monkeypatch.setattr(os, "write", part)
    out, fd = os.memfd_create("tar"), os.open(tmp_path, os.O_RDONLY)
    try:
        packer = Packer(out)
        packer.tree(fd)
        packer.end()
        with tarfile.open(fileobj=io.BytesIO(os.pread(out, os.fstat(out).st_size, 0))) as tar:
            read = [(member.name, tar.extractfile(member)) for member in tar]
            assert [(name, file.read().decode()) for name, file in read if file is not None] == [
                (name, name) for name in sorted(names)
            ]
    finally:
        os.close(out)
        os.close(fd)
    assert len(taken) > 1
