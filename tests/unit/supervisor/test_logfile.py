"""json-file: what is written is what was said, whatever the bytes and wherever they are cut."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.supervisor.logfile import PIECE, LogFile, timestamp


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def write(path: Path, *chunks: bytes, **options: Any) -> list[dict[str, Any]]:
    log = LogFile(str(path), options.get("max_size", 0), options.get("max_file", 1), options.get("attrs", ""))
    for chunk in chunks:
        log.write("stdout", chunk)
    log.close()
    return records(path)


@settings(max_examples=50)
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8")).map(str.encode)), st.integers(1, 9))
def test_any_text_cut_anywhere_comes_back(texts: list[bytes], size: int) -> None:
    data = b"\n".join(texts)
    path = Path(f"/tmp/corten-log-test-{os.getpid()}")
    try:
        found = write(path, *(data[at : at + size] for at in range(0, len(data), size)))
        assert "".join(record["log"] for record in found).encode() == data
        assert all(record["log"].count("\n") <= 1 for record in found)
    finally:
        path.unlink(missing_ok=True)


def test_a_backslash_before_an_n_is_no_line_end(tmp_path: Path) -> None:
    found = write(tmp_path / "log", b'a\\nb\n"quoted"\tand\x00control\n')
    assert [record["log"] for record in found] == ["a\\nb\n", '"quoted"\tand\x00control\n']


def test_long_lines_come_in_pieces_of_16_kib_and_only_the_last_has_the_newline(tmp_path: Path) -> None:
    found = write(tmp_path / "log", b"x" * (2 * PIECE + 5), b"y\nz\n")
    assert [len(record["log"]) for record in found] == [PIECE, PIECE, 7, 2]
    assert [record["log"].endswith("\n") for record in found] == [False, False, True, True]


def test_a_character_is_not_split_between_pieces(tmp_path: Path) -> None:
    found = write(tmp_path / "log", ("x" + "é" * PIECE).encode())
    assert "\ufffd" not in "".join(record["log"] for record in found)


def test_what_is_not_utf8_becomes_the_replacement_character(tmp_path: Path) -> None:
    assert write(tmp_path / "log", b"a\xff\xfeb\n")[0]["log"] == "a\ufffd\ufffdb\n"


def test_rotation_keeps_as_many_files_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, *(b"%06d" % number + b"x" * 100 + b"\n" for number in range(100)), max_size=2000, max_file=3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    assert all(file.stat().st_size <= 2000 for file in tmp_path.iterdir())
    last = [record["log"][:6] for name in ("log.2", "log.1", "log") for record in records(tmp_path / name)]
    assert last == [f"{number:06}" for number in range(100 - len(last), 100)]


def test_one_file_that_is_full_is_replaced(tmp_path: Path) -> None:
    """Not truncated: what has it open still finds all of it."""
    path = tmp_path / "log"
    log = LogFile(str(path), 200, 1)
    log.write("stdout", b"first\n")
    with path.open() as follower:
        for number in range(5):
            log.write("stdout", b"%d\n" % number)
        log.close()
        held = follower.read()
    assert json.loads(held.splitlines()[0])["log"] == "first\n"
    assert held != path.read_text() and [file.name for file in tmp_path.iterdir()] == ["log"]


def test_a_torn_last_record_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"log":"whole\\n"}\n{"log":"to')
    log = LogFile(str(path), 0, 1)
    log.write("stderr", b"next\n")
    log.close()
    lines = path.read_bytes().splitlines()
    assert lines[1] == b'{"log":"to' and json.loads(lines[2])["log"] == "next\n"


def test_a_full_disk_loses_output_but_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, full = tmp_path / "log", True
    real = os.write

    def write_or_fail(fd: int, data: bytes) -> int:
        if full:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write_or_fail)
    log = LogFile(str(path), 0, 1)
    log.write("stdout", b"lost\n")
    full = False
    log.write("stdout", b"kept\n")
    log.close()
    assert [record["log"] for record in records(path)] == [
        "[corten: 5 bytes of this log could not be written]\n",
        "kept\n",
    ]


def test_attributes_and_time(tmp_path: Path) -> None:
    found = write(tmp_path / "log", b"x\n", attrs='{"tag":"web"}')
    assert found[0]["attrs"] == {"tag": "web"} and found[0]["stream"] == "stdout"
    assert timestamp(1_700_000_000_000_000_007) == "2023-11-14T22:13:20.000000007Z"


def test_a_batch_larger_than_a_file_is_spread(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), 1000, 3)
    log.write("stdout", b"".join(b"%d\n" % number for number in range(200)))
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["log", "log.1", "log.2"]
    assert all(file.stat().st_size <= 1000 for file in files)
    last = json.loads(files[0].read_text().splitlines()[-1])
    assert last["log"] == "199\n"
