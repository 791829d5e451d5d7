"""The tars of cp: what we send, and hostile ones that an engine sends (CP-05)."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.cli import packing, unpacking
from corten.cli.errors import CommandError
from corten.client.errors import BadAnswer


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"x"
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o755
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, data


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> unpacking.Parts:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    data = buffer.getvalue()
    return unpacking.Parts(iter([data[:700], data[700:]]))


@pytest.mark.parametrize(
    "members",
    [
        [member("s/l", tarfile.SYMTYPE, "{out}"), member("s/l/x")],
        [member("s/l", tarfile.SYMTYPE, "../../out"), member("s/l/x")],
        [member("s/../../out/x")],
        [member("s", tarfile.SYMTYPE, "{out}"), member("s/x")],
        [member("s/h", tarfile.LNKTYPE, "../../out/token"), member("s/h", data=b"changed")],
        [member("s/l", tarfile.SYMTYPE, "{out}"), member("s/h", tarfile.LNKTYPE, "s/l/token")],
        [member("s/l", tarfile.SYMTYPE, "{out}"), member("s/l", tarfile.DIRTYPE)],
    ],
)
def test_what_leaves_the_target(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    out, target = tmp_path / "out", tmp_path / "in"
    out.mkdir(mode=0o700)
    target.mkdir()
    (out / "token").write_text("secret")
    for info, _ in members:
        info.linkname = info.linkname.replace("{out}", str(out))
    with pytest.raises(CommandError):
        unpacking.unpack(archive(*members), str(target), "s", "s", False)
    assert os.listdir(out) == ["token"] and (out / "token").read_text() == "secret"
    assert (out / "token").stat().st_nlink == 1 and out.stat().st_mode & 0o777 == 0o700


def test_odd_but_good(tmp_path: Path) -> None:
    source = archive(
        member("s", tarfile.DIRTYPE), member("./s/l", tarfile.SYMTYPE, "/nowhere/at/all"),
        member("s/d/", tarfile.DIRTYPE),
        member("s/d/f", data=b"1"), member("s/d/f", data=b"2"), member("s/h", tarfile.LNKTYPE, "s/d/f"),
        member("s/..."), member("s2/other"),
    )  # fmt: skip
    unpacking.unpack(source, str(tmp_path), "s", "named", False)
    assert sorted(os.listdir(tmp_path)) == ["named"]
    assert (tmp_path / "named/d/f").read_text() == "2" and (tmp_path / "named/h").samefile(tmp_path / "named/d/f")
    assert os.readlink(tmp_path / "named/l") == "/nowhere/at/all" and (tmp_path / "named/...").exists()


def test_holes_modes_and_times_arrive(tmp_path: Path) -> None:
    """GNU's sparse files come from engines that pack with GNU tar's formats."""
    made = tmp_path / "made"
    made.mkdir()
    with (made / "f").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    os.chmod(made / "f", 0o4755)
    os.utime(made / "f", (5, 7))
    subprocess.run(["tar", "-C", made, "-cSf", tmp_path / "t", "f"], check=True)
    unpacking.unpack(unpacking.Parts(iter([(tmp_path / "t").read_bytes()])), str(tmp_path), "f", "got", True)
    found = (tmp_path / "got").stat()
    assert (tmp_path / "got").read_bytes() == (made / "f").read_bytes() and found.st_blocks * 512 < 1 << 20
    assert (found.st_mode & 0o7777, found.st_mtime) == (0o4755, 7)


def test_an_error_behind_the_archive_is_no_success(tmp_path: Path) -> None:
    """The engine cuts its answer short when it could not read everything: the archive may look whole by then."""

    def parts() -> Iterator[bytes]:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("s"))
        yield buffer.getvalue()
        raise BadAnswer("cut")

    with pytest.raises(BadAnswer):
        unpacking.unpack(unpacking.Parts(parts()), str(tmp_path), "s", "s", False)


def test_many_small_files_go_out_in_few_pieces(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"{number:03}").write_bytes(b"x" * number)
    (tmp_path / "large").write_bytes(b"y" * (1 << 20))
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as left_out:
        left_out.bind(str(tmp_path / "socket"))
        pieces = [bytes(piece) for piece in packing.pack(str(tmp_path), "", False)]
    assert len(pieces) < 10
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        assert [m.name for m in tar] == [*(f"{number:03}" for number in range(200)), "large", "pipe"]
        large = tar.extractfile("large")
        assert large is not None and large.read() == b"y" * (1 << 20)


def test_a_deep_directory_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deeper than Python recurses."""
    monkeypatch.chdir(tmp_path)
    for depth in range(1, 1501):
        os.mkdir("/".join("a" * depth))
    packed = b"".join(bytes(piece) for piece in packing.pack("a", "a", False))
    subprocess.run(["rm", "-r", "a"], check=True)  # shutil's recurses, too
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert len(tar.getnames()) == 1500


def test_pack_and_unpack(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d" / "f").write_bytes(os.urandom(1 << 19))
    (source / "l").symlink_to("d/f")
    os.link(source / "d" / "f", source / "two")
    target = tmp_path / "target"
    target.mkdir()
    unpacking.unpack(unpacking.Parts(packing.pack(str(source), "source", False)), str(target), "source", "got", False)
    assert (target / "got/d/f").read_bytes() == (source / "d/f").read_bytes()
    assert os.readlink(target / "got/l") == "d/f" and (target / "got/two").samefile(target / "got/d/f")
    unpacking.unpack(unpacking.Parts(packing.pack(str(source), "", False)), str(target), "", "", False)
    assert sorted(os.listdir(target)) == ["d", "got", "l", "two"]
    unpacking.unpack(unpacking.Parts(packing.pack(str(source / "l"), "x", True)), str(target), "x", "x", False)
    assert (target / "x").read_bytes() == (source / "d/f").read_bytes()
