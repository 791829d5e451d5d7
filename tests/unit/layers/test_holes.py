"""Files with holes: no hole is read, sent, compared or filled."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from corten.layers import holes, inherit
from corten.layers.apply import apply
from corten.layers.compare import difference
from corten.layers.entries import Limits
from corten.layers.source import Source
from corten.layers.sums import Memory, Sum, settled
from corten.spec.dockerfile.ignore import Patterns
from image_parts.trees import tar_of

TERABYTES = 8 << 40


def sparse(path: Path, size: int, *parts: tuple[int, bytes]) -> Path:
    with path.open("wb") as file:
        for offset, data in parts:
            file.seek(offset)
            file.write(data)
        file.truncate(size)
    return path


def unpacked(tar: bytes, top: Path) -> Path:
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    apply(fd, Source(io.BytesIO(tar).readinto), Limits())
    os.close(fd)
    return top


def differ(one: Path, two: Path) -> str | None:
    fds = [os.open(path, os.O_RDONLY) for path in (one, two)]
    try:
        return difference(*fds)
    finally:
        for fd in fds:
            os.close(fd)


def test_large_holes_stay_holes(tmp_path: Path) -> None:
    """In a tar that other programs read as well, and in what is unpacked from it."""
    top = tmp_path / "top"
    top.mkdir()
    long = "n" * 150
    files = {
        "begins": [(0, b"begin"), (3 << 30, b"x" * 100_000)],
        "empty": [],
        "ends": [(TERABYTES - 3, b"end")],
        long: [(1 << 30, b"named")],
    }
    for name, parts in files.items():
        sparse(top / name, TERABYTES, *parts)
    os.setxattr(top / "ends", "user.kept", b"1")
    (top / "z").write_text("after them")
    tar = tar_of(top)
    assert len(tar) < 200_000
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        members = {member.name: member for member in archive}
        assert members.keys() == {*files, "z"}
        assert all(members[name].size == TERABYTES for name in files)
        ends = archive.extractfile("ends")
        assert ends is not None and ends.seek(TERABYTES - 4) and ends.read() == b"\0end"
    if os.geteuid():
        pytest.skip("owners need root")
    again = unpacked(tar, tmp_path / "again")
    assert differ(top, again) is None
    assert sum(os.lstat(again / name).st_blocks for name in files) * 512 < 1 << 20
    with (again / "begins").open("r+b") as file:
        file.seek(1 << 40)
        file.write(b"!")
    assert differ(top, again) == "begins: has another content"


def test_small_holes_are_zeros(tmp_path: Path) -> None:
    """As dockerd has them, which cannot save an image with a sparse entry; but not as many as there may be."""
    top = tmp_path / "top"
    top.mkdir()
    sparse(top / "f", 1 << 20, (0, b"begin"), ((1 << 20) - 3, b"end"))
    with tarfile.open(fileobj=io.BytesIO(tar_of(top))) as archive:
        (member,) = archive.getmembers()
        assert not member.sparse
        data = archive.extractfile(member)
        assert data is not None and data.read() == (top / "f").read_bytes()


def test_many_small_holes_become_sparse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corten.layers.pack._ZEROS", 4 << 20)
    top = tmp_path / "top"
    top.mkdir()
    for number in range(10):
        sparse(top / str(number), 1 << 20)
    tar = tar_of(top)
    assert len(tar) < 5 << 20
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        assert [bool(member.sparse) for member in archive] == [False] * 3 + [True] * 7


def test_too_many_parts_become_fewer() -> None:
    parts = [(number * 8192, 100) for number in range(1000)]
    assert holes.few(parts, 1000) == parts
    fewer = holes.few(parts, 10)
    assert 0 < len(fewer) <= 10 and fewer[0][0] == 0 and sum(fewer[-1]) == sum(parts[-1])
    assert all(any(begin <= at and at + size <= begin + all for begin, all in fewer) for at, size in parts)


def test_a_file_of_a_lower_layer_keeps_its_holes(tmp_path: Path) -> None:
    """A hard link to it in an upper layer is a copy."""
    if os.geteuid():
        pytest.skip("owners need root")
    for name in ("lower", "upper"):
        (tmp_path / name).mkdir()
    sparse(tmp_path / "lower/f", TERABYTES, (1 << 40, b"middle"))
    upper, lower = (os.open(tmp_path / name, os.O_RDONLY) for name in ("upper", "lower"))
    inherit.settle(upper, [lower], [], [(b"g", b"f")])
    os.close(upper)
    os.close(lower)
    status = os.lstat(tmp_path / "upper/g")
    assert status.st_size == TERABYTES and status.st_blocks * 512 < 1 << 20
    with (tmp_path / "upper/g").open("rb") as file:
        assert file.seek(1 << 40) and file.read(6) == b"middle"


def summed(top: Path, memory: Memory) -> str:
    fd = os.open(top, os.O_RDONLY)
    try:
        found = Sum(memory, False, Patterns(()))
        found.one(fd, b".")
        return found.digest
    finally:
        os.close(fd)


def test_a_digest_of_what_a_copy_brings_reads_no_hole(tmp_path: Path) -> None:
    contents: list[tuple[int, list[tuple[int, bytes]]]] = [
        (TERABYTES, [(0, b"a"), (TERABYTES - 1, b"b")]),
        (TERABYTES, [(0, b"a"), (TERABYTES - 1, b"c")]),
        (TERABYTES, [(0, b"a"), (TERABYTES // 2, b"b")]),
        (TERABYTES, [(0, b"a")]),
        (TERABYTES - 4096, [(0, b"a")]),
        (TERABYTES, []),
    ]
    found = []
    file = tmp_path / "file"
    for size, parts in contents:
        found.append(summed(sparse(file, size, *parts).parent, Memory()))
        file.unlink()
        assert summed(sparse(file, size, *parts).parent, Memory()) == found[-1]
    assert len(set(found)) == len(contents)


def test_a_digest_of_data_alone_is_not_taken_for_one_of_all(tmp_path: Path) -> None:
    """Packers tell the digest of a layer by SHA-256 of its files."""
    held = sparse(tmp_path / "file", 1 << 21, (0, b"a"))
    os.utime(held, (1, 1))
    full = tmp_path / "full"
    full.write_bytes(bytes(1 << 21))
    while not (settled(held.stat()) and settled(full.stat())):
        time.sleep(0.005)
    memory = Memory()
    summed(tmp_path, memory)
    memory = Memory(memory.packed(1 << 20))
    assert memory.known(held.stat()) == b""
    assert memory.known(full.stat()) == hashlib.sha256(bytes(1 << 21)).digest()
