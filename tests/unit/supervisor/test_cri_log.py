"""Logs as Kubernetes reads them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from corten.supervisor.cri_log import CriLog, log_of
from corten.supervisor.logfile import PIECE, LogFile

ENTRY = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) ([FP]) (.*)")


def entries(path: Path) -> list[tuple[bytes, bytes, bytes]]:
    found = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        match = ENTRY.fullmatch(line)
        assert match is not None, line
        found.append((match[2], match[3], match[4]))
    return found


def test_lines_of_both_streams(tmp_path: Path) -> None:
    log = log_of(str(tmp_path / "log"), 10, 3, "", "cri")
    log.write("stdout", b"one\ntwo\n\npart")
    log.write("stderr", b"\xff error\r\n")
    log.write("stdout", b"ly\nrest")
    log.close()
    out, err = b"stdout", b"stderr"
    assert entries(tmp_path / "log") == [
        (out, b"F", b"one"),
        (out, b"F", b"two"),
        (out, b"F", b""),
        (err, b"F", b"\xff error\r"),
        (out, b"F", b"partly"),
        (out, b"P", b"rest"),
    ]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o640
    assert type(log_of(str(tmp_path / "other"), 10, 3, "", "")) is LogFile


@pytest.mark.parametrize("at_once", [True, False])
def test_a_long_line_comes_in_pieces(tmp_path: Path, at_once: bool) -> None:
    log = CriLog(str(tmp_path / "log"))
    text = b"x" * (2 * PIECE + 5) + b"\n"
    for piece in [text] if at_once else [text[:PIECE], text[PIECE:-3], text[-3:]]:
        log.write("stdout", piece)
    found = entries(tmp_path / "log")
    assert [(tag, len(data)) for _, tag, data in found] == [(b"P", PIECE), (b"P", PIECE), (b"F", 5)]


def test_it_goes_on_in_a_new_file_when_it_is_reopened(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = CriLog(str(path))
    log.write("stdout", b"one\n")
    path.rename(tmp_path / "log.1")
    log.write("stdout", b"two\n")
    log.reopen()
    log.write("stdout", b"three\n")
    assert [data for _, _, data in entries(tmp_path / "log.1")] == [b"one", b"two"]
    assert [data for _, _, data in entries(path)] == [b"three"]


def test_one_that_cannot_be_reopened_goes_on_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "d" / "log"
    path.parent.mkdir()
    log = CriLog(str(path))
    path.parent.rename(tmp_path / "e")
    with pytest.raises(FileNotFoundError):
        log.reopen()
    log.write("stdout", b"one\n")
    assert [data for _, _, data in entries(tmp_path / "e" / "log")] == [b"one"]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        CriLog(str(tmp_path / "log"))
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_full_disk_loses_is_said(tmp_path: Path) -> None:
    log = CriLog("/dev/full")
    log.write("stdout", b"12345678\n")
    log._fd, log._path = -1, str(tmp_path / "log")
    log.write("stdout", b"again\n")
    assert [data for _, _, data in entries(tmp_path / "log")] == [
        b"[corten: 9 bytes of this log could not be written]",
        b"again",
    ]
