"""The reader against GNU tar's and Python's writers, and against nonsense."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corten.errors import CortenError, Invalid
from corten.layers import header as tar
from corten.layers import write
from corten.layers.entries import Entry, Limits, entries
from corten.layers.source import Source
from image_parts import tars


def source(data: bytes) -> Source:
    stream = io.BytesIO(data)
    return Source(stream.readinto)


def read(data: bytes, limits: Limits | None = None) -> list[tuple[Entry, bytes]]:
    stream = source(data)
    return [(entry, stream.exactly(entry.size)) for entry in entries(stream, limits or Limits())]


LONG = "d" * 90 + "/" + "é" * 60 + "/" + "n" * 150


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_formats_of_others(form: int) -> None:
    modern = form != tarfile.USTAR_FORMAT
    uid, mtime = (3_000_000, 12_345_678_901) if modern else (1000, 1_234_567_890)
    names = ["a", "d" * 80 + "/" + "e" * 80, *([LONG] if modern else [])]
    target = "t" * (200 if modern else 90)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid, info.mode = 3, mtime, uid, 0o4755
            archive.addfile(info, io.BytesIO(b"abc"))
        info = tarfile.TarInfo("l")
        info.type, info.linkname = tarfile.SYMTYPE, target
        archive.addfile(info)
    *files, (symlink, _) = read(buffer.getvalue())
    assert [entry.name.decode() for entry, _ in files] == names
    for entry, data in files:
        assert (entry.mode, entry.uid, entry.mtime, data) == (0o4755, uid, mtime * 10**9, b"abc")
    assert symlink.link.decode() == target


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0", "old"])
def test_sparse_files_of_gnu_tar(tmp_path: Path, version: str) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        for at in range(40):
            file.seek(at * 1_000_000)
            file.write(b"data%d" % at)
        file.truncate(50_000_000)
    form = ["--format=gnu"] if version == "old" else ["--format=pax", f"--sparse-version={version}"]
    done = subprocess.run(["tar", "-C", tmp_path, "-S", *form, "-cf", "-", "sparse"], capture_output=True, check=True)
    ((entry, data),) = read(done.stdout)
    assert entry.name == b"sparse"
    assert entry.real == 50_000_000
    assert entry.size < 1_000_000
    whole = bytearray(entry.real)
    at = 0
    for offset, length in entry.parts or ():
        whole[offset : offset + length] = data[at : at + length]
        at += length
    assert whole == path.read_bytes()


@given(
    name=st.text(min_size=1, max_size=300)
    .filter(lambda t: "\0" not in t and not t.endswith("/"))
    .map(lambda t: t.encode("utf-8", "surrogateescape") if t.isprintable() else b"x"),
    uid=st.integers(0, 2**32 - 2),
    mtime=st.integers(-(10**18), 8 * 10**18),
    xattr=st.binary(max_size=100),
)
def test_what_we_write_we_read(name: bytes, uid: int, mtime: int, xattr: bytes) -> None:
    data = (
        write.header(name, size=3, uid=uid, gid=uid, mtime=mtime, xattrs={b"user.a": xattr}) + b"abc" + write.padding(3)
    )
    ((entry, content),) = read(data + write.END)
    assert (entry.name, entry.uid, entry.gid, entry.mtime) == (name, uid, uid, mtime)
    assert (content, entry.xattrs) == (b"abc", {b"user.a": xattr})


def test_gnu_tar_reads_what_we_write(tmp_path: Path) -> None:
    data = tars.archive(tars.directory("d"), tars.file("d/" + "é" * 100, b"hello", mtime=1_500_000_000_500_000_000))
    subprocess.run(["tar", "-C", tmp_path, "-xf", "-"], input=data, check=True)
    found = tmp_path / "d" / ("é" * 100)
    assert found.read_bytes() == b"hello"
    assert os.stat(found).st_mtime_ns == 1_500_000_000_500_000_000


def test_the_end() -> None:
    one = tars.file("a")
    assert len(read(one)) == 1  # no end mark
    assert len(read(one + bytes(512))) == 1  # half of one
    assert len(read(one + write.END + b"whatever follows")) == 1
    assert read(b"") == []


@pytest.mark.parametrize("name", [b"a/b", b"x" * 100, b"x" * 101, "é".encode()])
@pytest.mark.parametrize("size", [0, 25600, 1 << 33])
def test_a_header_of_a_plain_file_is_a_header(name: bytes, size: int) -> None:
    for mode, uid, gid, seconds in ((0o100644, 0, 0, 0), (0o4755, 1000, 0o7777777, 1 << 32), (0, 1 << 21, 3, -1)):
        whole = write.header(name, mode=mode, uid=uid, gid=gid, size=size, mtime=seconds * 10**9)
        assert write.regular(name, mode, uid, gid, size, seconds) == whole


def header(**fields: bytes) -> bytes:
    """A header block with raw fields, its checksum right."""
    offsets = {"mode": 100, "uid": 108, "size": 124, "mtime": 136, "type": 156}
    block = bytearray(write.header(b"a"))
    for key, value in fields.items():
        block[offsets[key] : offsets[key] + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 512,
        b"x" * 100,
        tars.file("a", b"abc")[:600],
        header(size=b"\xff" * 12),  # negative
        header(size=b"\x80" + b"\xff" * 11),
        header(size=b"7777777777x"),
        header(mode=b"-000001"),
        header(uid=b"\xff" * 8),
        header(size=b"00000002000", type=tar.PAX) + b"x" * 1024,
        header(size=b"77777777777", type=tar.PAX),
        header(size=b"77777777777", type=tar.GNU_NAME),
        header(type=b"Z"),
        write._pax(b"a", {b"size": b"-1"}) + header(),
        write._pax(b"a", {b"size": b"9" * 30}) + header(),
        write._pax(b"a", {b"mtime": b"1e9"}) + header(),
        write._pax(b"a", {b"path": b"a\0b"}) + header(),
        write._pax(b"a", {b"uid": b"4294967295"}) + header(),
        write._pax(b"a", {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9"})
        + header(),
        write._pax(b"a", {b"GNU.sparse.map": b"0,1,0,1", b"GNU.sparse.size": b"9"}) + header(size=b"00000000002"),
        write._pax(b"a", {b"GNU.sparse.map": b"5,1", b"GNU.sparse.size": b"2"}) + header(size=b"00000000001"),
        write._pax(b"a", {b"GNU.sparse.map": b"", b"GNU.sparse.size": b"%d" % (1 << 60)}) + header(),
        write._pax(b"a", {b"SCHILY.xattr.": b"1"}) + header(),
        write._pax(b"a", {b"SCHILY.xattr.a\0b": b"1"}) + header(),
        write._pax(b"a", {b"SCHILY.xattr.user." + b"n" * 255: b"1"}) + header(),
        write._pax(b"a", {b"GNU.sparse.map": b"0", b"GNU.sparse.size": b"2"}) + header(),
    ],
)
def test_nonsense(data: bytes) -> None:
    with pytest.raises(Invalid):
        read(data)


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_noise_in_a_good_archive(noise: bytes, at: int) -> None:
    good = bytearray(tars.archive(tars.file("a", b"abc", xattrs={b"user.x": b"1"}), tars.symlink("b", "c" * 200)))
    good[at : at + len(noise)] = noise
    try:
        read(bytes(good))
    except CortenError:
        pass


def test_pax_records_do_not_take_quadratic_time() -> None:
    records = b"6 a=b\n" * 170_000
    assert tar.parse_pax(records).records == {b"a": b"b"}


def test_limits() -> None:
    with pytest.raises(Invalid, match="larger"):
        read(tars.file("a", b"x" * 2000), Limits(bytes=1000))
    with pytest.raises(Invalid, match="larger"):
        read(header(size=b"77777777777"), Limits(file=1 << 20))


@given(st.binary(min_size=512, max_size=512))
@example(b"\xff" * 512)
@example(b"\xff" * 256 + bytes(256))
def test_a_checksum_is_the_sum_of_all_bytes(block: bytes) -> None:
    assert tar.checksum(block) == sum(block)
