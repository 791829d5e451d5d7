from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from corten.aio.sources import closing
from corten.engine.containers import logs
from corten.engine.containers.logs import Selection
from corten.kernel import inotify
from corten.spec.docker import times
from corten.tasks.contract import Exit
from corten.units.durations import SECOND

START = times.parse_time("2026-01-01T00:00:00Z")


def line(text: str, second: int = 0, stream: str = "stdout", **attrs: str) -> bytes:
    entry: dict[str, Any] = {"log": text, "stream": stream, "time": times.rfc3339(START + second * SECOND)}
    if attrs:
        entry["attrs"] = attrs
    return json.dumps(entry).encode() + b"\n"


def numbers(values: Iterable[int]) -> bytes:
    return b"".join(line(f"{value}\n", value) for value in values)


async def read(path: Path, **wanted: Any) -> bytes:
    return b"".join([piece async for piece in logs.read(path, Selection(mux=False, **wanted))])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of 0 to 29 in three files."""
    path = tmp_path / "x-json.log"
    path.write_bytes(numbers(range(20, 30)))
    path.with_name("x-json.log.1").write_bytes(numbers(range(10, 20)))
    path.with_name("x-json.log.2").write_bytes(numbers(range(10)))
    return path


def expected(values: Iterable[int]) -> bytes:
    return b"".join(f"{value}\n".encode() for value in values)


async def test_all_files_oldest_first(path: Path) -> None:
    assert await read(path) == expected(range(30))


@pytest.mark.parametrize("tail", [0, 1, 9, 10, 11, 25, 30, 100])
async def test_tail_across_files(path: Path, tail: int) -> None:
    assert await read(path, tail=tail) == expected(range(max(0, 30 - tail), 30))


async def test_tail_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(numbers(range(5000)))
    assert await read(path, tail=4000) == expected(range(1000, 5000))


async def test_since_and_until(path: Path) -> None:
    def at(second: int) -> int:
        return START + second * SECOND

    assert await read(path, since=at(12)) == expected(range(12, 30))
    assert await read(path, until=at(12)) == expected(range(13))
    assert await read(path, since=at(5), until=at(7)) == expected(range(5, 8))


async def test_frames_and_streams(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(line("out\n") + line("err\n", stream="stderr"))
    framed = b"".join([piece async for piece in logs.read(path, Selection())])
    assert framed == b"\x01\0\0\0\0\0\0\x04out\n\x02\0\0\0\0\0\0\x04err\n"
    assert await read(path, stdout=False) == b"err\n"
    assert await read(path, stderr=False) == b"out\n"


async def test_timestamps_and_details(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(line("a\n", b="1", a="x y"))
    assert await read(path, timestamps=True) == b"2026-01-01T00:00:00.000000000Z a\n"
    assert await read(path, details=True) == b"a=x+y,b=1 a\n"


async def test_damage_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(line("1\n") + b'{"log":"torn\n\0\0\0\n[1]\n\xff\xfe\n' + line("2\n") + b'{"log": "unfinished')
    assert await read(path) == b"1\n2\n"


async def test_following_a_file_that_becomes_shorter(tmp_path: Path) -> None:
    """logrotate's copytruncate, and any other program that shortens it in place."""
    path, ended = tmp_path / "log", asyncio.get_running_loop().create_future()
    path.write_bytes(numbers(range(10)))
    pieces = logs.read(path, Selection(mux=False, follow=True), ended)
    assert await anext(pieces) == expected(range(10))
    path.write_bytes(numbers(range(10, 13)))
    assert await anext(pieces) == expected(range(10, 13))
    ended.set_result(Exit(0, 0.0))
    assert [piece async for piece in pieces] == []


async def test_no_log_at_all(tmp_path: Path) -> None:
    assert await read(tmp_path / "log") == b""


async def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/etc/passwd")
    with pytest.raises(OSError):
        await read(tmp_path / "log")


async def test_lines_longer_than_a_piece(tmp_path: Path) -> None:
    path = tmp_path / "log"
    long = "x" * (3 * logs.PIECE) + "\n"
    path.write_bytes(line("a\n") + line(long) + line("b\n"))
    assert await read(path) == b"a\n" + long.encode() + b"b\n"


class Following:
    """A follower of `path`, and what it has seen."""

    def __init__(self, path: Path, **wanted: Any) -> None:
        self.ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._source = logs.read(path, Selection(mux=False, follow=True, **wanted), self.ended)
        self.seen = b""

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(60):
            while not self.seen.endswith(text):
                self.seen += await anext(self._source)

    async def end(self) -> bytes:
        self.ended.set_result(Exit(0, 0))
        async with asyncio.timeout(60):
            async for piece in self._source:
                self.seen += piece
        return self.seen


def append(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def rotate(path: Path) -> None:
    older = path.with_name(f"{path.name}.1")
    if older.exists():
        older.rename(path.with_name(f"{path.name}.2"))
    path.rename(older)
    path.touch()


async def test_follow(path: Path) -> None:
    following = Following(path, tail=2)
    await following.until(b"29\n")
    append(path, numbers([30]))
    await following.until(b"30\n")
    append(path, b'{"log":"half')
    append(path, b'\\n","stream":"stdout","time":"2026-01-01T00:00:40Z"}\n')
    await following.until(b"half\n")
    append(path, numbers([41]))
    assert await following.end() == expected([28, 29, 30]) + b"half\n41\n"


async def test_follow_across_rotations(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, numbers([0]))
    following = Following(path)
    await following.until(b"0\n")
    append(path, numbers([1]))
    rotate(path)
    append(path, numbers([2]))
    rotate(path)
    append(path, numbers([3]))
    await following.until(b"3\n")
    rotate(path)
    append(path, numbers([4]))
    assert await following.end() == expected(range(5))


def opened_below(directory: Path) -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:  # that of the directory of descriptors itself
            continue
    return sorted(name for name in found if name.startswith(str(directory)))


async def test_a_client_that_disconnects_after_a_rotation_leaves_no_file_open(tmp_path: Path) -> None:
    path, ended = tmp_path / "log", asyncio.get_running_loop().create_future()
    async with closing(logs.read(path, Selection(mux=False, follow=True), ended)) as pieces:
        first = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0)  # now it waits for a file
        append(path.with_name("log.1"), numbers([0]))
        append(path, numbers([1]))
        assert await first == b"0\n"
        assert opened_below(tmp_path) == [str(path), str(path.with_name("log.1"))]
    assert opened_below(tmp_path) == []


@pytest.mark.parametrize(("call", "number"), [("instance", errno.EMFILE), ("add", errno.ENOSPC)])
async def test_follow_without_inotify(path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    """A container has all instances, or watches, that root may have."""

    def none_left(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(inotify, call, none_left)
    following = Following(path, tail=1)
    await following.until(b"29\n")
    append(path, numbers([30]))
    await following.until(b"30\n")
    rotate(path)
    append(path, numbers([31]))
    await following.until(b"31\n")
    assert await following.end() == expected([29, 30, 31])


async def test_follow_begins_before_the_file_does(tmp_path: Path) -> None:
    path = tmp_path / "log"
    following = Following(path)
    waiting = asyncio.ensure_future(following.until(b"0\n"))
    await asyncio.sleep(0)
    append(path, numbers([0]))
    await waiting
    assert await following.end() == b"0\n"


async def test_follow_stops_at_until(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, numbers([0]))
    following = Following(path, until=times.now() + SECOND // 50)
    async with asyncio.timeout(60):
        assert [piece async for piece in following._source] == [b"0\n"]


@pytest.mark.parametrize("follow", [False, True])
async def test_the_end_of_a_large_log_is_not_looked_for_in_the_event_loop(
    path: Path, monkeypatch: pytest.MonkeyPatch, follow: bool
) -> None:
    threads, look = [], logs.start_points

    def seen(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return look(*args)

    monkeypatch.setattr(logs, "start_points", seen)
    ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    ended.set_result(Exit(0, 0.0))
    wanted = Selection(mux=False, tail=3, follow=follow)
    assert b"".join([piece async for piece in logs.read(path, wanted, ended)]) == expected(range(27, 30))
    assert threads and threading.main_thread() not in threads


async def test_the_format_of_kubernetes(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(
        b"2026-01-01T00:00:01Z stdout F one\n"
        b"2026-01-01T00:00:02.5Z stderr P tw\n2026-01-01T00:00:02.6Z stderr F o \xff x\n"
        b"\nnonsense\n2026-01-01T00:00:03Z stdout F \n2026-01-01T00:00:04Z stdout F torn"
    )
    assert await read(path, kubernetes=True) == "one\ntwo \ufffd x\n\n".encode()
    assert await read(path, kubernetes=True, stdout=False, tail=5) == "o \ufffd x\n".encode()
    since = START + 2 * SECOND
    assert await read(path, kubernetes=True, since=since, timestamps=True, stderr=False) == (
        b"2026-01-01T00:00:03.000000000Z \n"
    )
