"""fsutil's transfer: a tree arrives as it is, only what has changed is asked for, and what is hostile is refused."""

from __future__ import annotations

import hashlib
import os
import stat as modes
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.build.transfer import walk as r
from corten.build.transfer.sink import TreeSink
from corten.build.transfer.small import Small
from corten.build.trees import Trees
from corten.buildkit.packets import Packets, read_stat
from corten.errors import CortenError, Failed, Invalid
from corten.http2.grpc import Cut, Status, framed
from corten.layers.sums import entry
from corten.spec.protobuf.session import DATA, ERROR, FINISH, REQUEST, STAT, Packet, Stat

TIME = 1_700_000_000_123_456_789
Tree = dict[str, tuple[Stat, bytes]]


def file(path: str, content: bytes = b"x", mode: int = 0o644, **fields: object) -> tuple[Stat, bytes]:
    return Stat(path, mode, size=len(content), modified=TIME, **fields), content  # type: ignore[arg-type]


def directory(path: str) -> tuple[Stat, bytes]:
    return Stat(path, 0o755 | r.DIRECTORY, modified=TIME), b""


def link(path: str, target: str) -> tuple[Stat, bytes]:
    return Stat(path, 0o777 | r.SYMLINK, modified=TIME, link=target), b""


class Sender:
    """A client: sends a walk, and what it is asked for, in pieces of `size`, files interleaved."""

    def __init__(self, entries: Sequence[tuple[Stat, bytes]], size: int = 1 << 15) -> None:
        self.entries = entries
        self.asked: list[str] = []
        self._size = size

    def send(self, receiver: Packets) -> None:
        cut = Cut()
        answers: list[Packet] = []

        def feed(*packets: Packet) -> None:
            data = b"".join(framed(packet.encode()) for packet in packets)
            for at in range(0, len(data), self._size):
                found = cut.feed(receiver.feed(data[at : at + self._size]))
                answers.extend(map(Packet.decode, found))

        feed(*(Packet(STAT, stat) for stat, _ in self.entries), Packet(STAT))
        while answers:
            batch, answers[:] = list(answers), []
            numbers = [packet.id for packet in batch if packet.type == REQUEST]
            self.asked += [self.entries[number][0].path for number in numbers]
            for at in range(0, len(numbers), 4):
                self._interleaved(numbers[at : at + 4], feed)
            if any(packet.type == FINISH for packet in batch):
                feed(Packet(FINISH))
                assert receiver.finished
                return
        raise AssertionError("the receiver did not end")

    def _interleaved(self, numbers: Sequence[int], feed: Callable[..., None]) -> None:
        for part in range(2):
            for number in numbers:
                content = self.entries[number][1]
                half = len(content) // 2
                if piece := (content[half:] if part else content[:half]):
                    feed(Packet(DATA, id=number, data=piece))
        feed(*(Packet(DATA, id=number) for number in numbers))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir()
    return path


def receive(place: Path, *entries: tuple[Stat, bytes], size: int = 1 << 15) -> tuple[list[str], TreeSink]:
    sink = TreeSink(place)
    try:
        sender = Sender(entries, size)
        sender.send(Packets(sink))
    finally:
        sink.close()
    return sender.asked, sink


def shown(place: Path) -> dict[str, str]:
    found = {}
    for path in sorted(place.rglob("*")):
        status = path.lstat()
        what = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else "/"
        found[str(path.relative_to(place))] = f"{modes.S_IMODE(status.st_mode):o} {what}"
    return found


FIRST = [
    file("a", b"A"),
    directory("d"),
    file("d/b", b"B" * 70_000, 0o4755 & 0o777 | r.SETUID),
    directory("d/e"),
    file("d/e/empty", b""),
    file("d-", b"-"),
    file("hard", b"", link="a"),
    link("lnk", "../../../etc/passwd"),
]


@pytest.mark.parametrize("size", [7, 1 << 15])
def test_a_tree_arrives_as_it_is(place: Path, size: int) -> None:
    asked, sink = receive(place, *FIRST, size=size)
    assert asked == ["a", "d/b", "d/e/empty", "d-"]
    assert shown(place) == {
        "a": "644 A",
        "d": "755 /",
        "d-": "644 -",
        "d/b": "4755 " + "B" * 70_000,
        "d/e": "755 /",
        "d/e/empty": "644 ",
        "hard": "644 A",
        "lnk": "777 ../../../etc/passwd",
    }
    assert (place / "a").stat().st_ino == (place / "hard").stat().st_ino
    assert {path.lstat().st_mtime_ns for path in place.rglob("*")} == {TIME}
    assert sink.changed


def test_hashes_are_known_of_what_has_come(place: Path) -> None:
    _, sink = receive(place, file("f", b"content"))
    assert bytes(sink.sums) == entry((place / "f").stat(), hashlib.sha256(b"content").digest(), True)


def test_what_has_not_changed_is_not_asked_for_and_what_is_not_said_is_removed(place: Path) -> None:
    receive(place, *FIRST)
    assert receive(place, *FIRST)[0] == []
    assert not receive(place, *FIRST)[1].changed
    newer = Stat("a", 0o644, size=1, modified=TIME + 1), b"N"
    asked, sink = receive(place, newer, directory("d"), file("d/b", b"other"), file("hard", b"", link="a"))
    assert asked == ["a", "d/b"] and sink.changed
    assert shown(place) == {"a": "644 N", "d": "755 /", "d/b": "644 other", "hard": "644 N"}


def test_a_change_of_kind(place: Path) -> None:
    receive(place, directory("a"), file("a/x"), link("b", "a"), file("c"))
    receive(place, file("a", b"file"), directory("b"), file("b/y", b"y"), link("c", "b"))
    assert shown(place) == {"a": "644 file", "b": "755 /", "b/y": "644 y", "c": "777 b"}


def test_a_mode_alone_is_a_change(place: Path) -> None:
    receive(place, file("a"))
    assert receive(place, file("a", mode=0o755))[0] == ["a"]


def test_a_file_that_changed_while_it_was_sent_is_asked_for_again(place: Path) -> None:
    grown = Stat("log", 0o644, size=3, modified=TIME), b"longer than it said"
    receive(place, grown)
    assert receive(place, grown)[0] == ["log"]


def test_a_link_on_the_way_is_never_followed(place: Path, tmp_path: Path) -> None:
    """The tree has a link out of it from an earlier transfer, and the next says that it is a directory."""
    (tmp_path / "outside").mkdir()
    receive(place, link("d", str(tmp_path / "outside")))
    receive(place, directory("d"), file("d/x"))
    assert not list((tmp_path / "outside").iterdir()) and (place / "d/x").is_file() and not (place / "d").is_symlink()


def packets(*found: Packet) -> bytes:
    return b"".join(framed(packet.encode()) for packet in found)


def entries(*found: tuple[Stat, bytes]) -> bytes:
    return packets(*(Packet(STAT, stat) for stat, _ in found))


HOSTILE = {
    "a parent": entries(file("..")),
    "a way out": entries(directory("d"), file("d/../../x")),
    "an absolute name": entries(file("/x")),
    "an empty name": entries(file("")),
    "a dot": entries(file("./x")),
    "two slashes": entries(directory("d"), file("d//x")),
    "a slash at the end": entries(directory("d/")),
    "a NUL": entries(file("a\0b")),
    "a long name": entries(file("n" * 256)),
    "the wrong order": entries(file("b"), file("a")),
    "a name twice": entries(file("a"), file("a")),
    "a directory behind its content's sibling": entries(directory("a"), file("a-"), file("a/x")),
    "no parent": entries(file("d/x")),
    "a file as a parent": entries(file("d"), file("d/x")),
    "a link as a parent": entries(link("d", "/etc"), file("d/x")),
    "a hard link to nothing": entries(file("b", link="a")) + packets(Packet(STAT)),
    "a hard link forward": entries(file("a", link="b")),
    "a hard link out": entries(file("z", link="../../etc/passwd")) + packets(Packet(STAT)),
    "a hard link to a directory": entries(directory("d"), file("z", link="d")) + packets(Packet(STAT)),
    "a hard link through a link": entries(link("l", "/etc"), file("z", link="l/passwd")) + packets(Packet(STAT)),
    "a device": entries((Stat("null", 0o666 | r.DEVICE | r.CHARACTER, major=1, minor=3), b"")),
    "content that was not asked for": entries(file("a")) + packets(Packet(DATA, id=1, data=b"x")),
    "content of a directory": entries(directory("a")) + packets(Packet(DATA, id=0, data=b"x")),
    "content after the end": entries(file("a")) + packets(Packet(DATA), Packet(DATA, data=b"x")),
    "an end before the content": entries(file("a")) + packets(Packet(STAT), Packet(FINISH)),
    "an end before the walk's": packets(Packet(FINISH)),
    "entries behind the walk": packets(Packet(STAT)) + entries(file("a")),
    "a request": packets(Packet(REQUEST)),
    "another type": packets(Packet(17)),
    "no packet": framed(b"\xff\xff"),
    "a name that is not UTF-8": framed(b"\x12\x03\x0a\x01\xff"),
    "a link to a long path": entries(link("l", "a/" * 2048)),
    "an attribute with a NUL": entries(file("a", attributes={"user.\0": b""})),
    "an attribute of a long name": entries(file("a", attributes={"user." + "x" * 251: b""})),
    "an attribute of a long value": entries(file("a", attributes={"user.x": bytes((1 << 16) + 1)})),
    "a deep tree": entries(*(directory("/".join(["d"] * depth)) for depth in range(1, 202))),
    "many files at a time": entries(*(file(f"{n:03}") for n in range(65)))
    + packets(*(Packet(DATA, id=n, data=b"x") for n in range(65))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_senders_are_refused(place: Path, tmp_path: Path, name: str) -> None:
    sink = TreeSink(place)
    try:
        with pytest.raises(CortenError) as raised:
            Packets(sink).feed(HOSTILE[name])
    finally:
        sink.close()
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_bounds() -> None:
    few = entries(file("a"), file("b"), file("c"))
    with pytest.raises(Invalid, match="more than 2 entries"):
        Packets(Small(10), entries=2).feed(few)
    with pytest.raises(Invalid, match="too large"):
        Packets(Small(100), most=10).feed(entries(file("a")) + packets(Packet(DATA, data=b"x" * 11)))
    with pytest.raises(Invalid, match="larger than 10 bytes"):
        Packets(Small(10)).feed(entries(file("a")) + packets(Packet(DATA, data=b"x" * 11)))
    with pytest.raises(Invalid, match="larger than 10 bytes"):
        Packets(Small(10)).feed(entries(file("a", b"x" * 11)))
    with pytest.raises(Invalid, match="too much of names, links and attributes"):
        Packets(Small(10), stats=100).feed(entries(file("a", attributes={"user.x": bytes(100)})))
    with pytest.raises(Status):
        Packets(Small(10)).feed(b"\0\xff\xff\xff\xff")


def test_an_attribute_that_cannot_be_set_names_its_file(place: Path) -> None:
    with pytest.raises(OSError, match=r"security\.capability cannot be set") as raised:
        receive(place, file("a", attributes={"security.capability": b"none"}))
    assert raised.value.filename == "a"


def test_an_error_of_the_sender() -> None:
    with pytest.raises(Failed, match="error from sender: open a: permission denied"):
        Packets(Small(10)).feed(packets(Packet(ERROR, data=b"open a: permission denied")))


def small(*found: tuple[Stat, bytes]) -> Small:
    sink = Small(1000)
    Sender(found).send(Packets(sink))
    return sink


def test_small_files_are_found_through_links() -> None:
    sink = small(
        link("Dockerfile", "sub/../sub/real"),
        link("abs", "/sub/real"),
        link("loop", "loop"),
        link("out", "../../../sub/real"),
        directory("sub"),
        file("sub/real", b"FROM x"),
    )
    assert [sink.found(name) for name in ("Dockerfile", "abs", "out", "/sub/real")] == [b"FROM x"] * 4
    assert [sink.found(name) for name in ("loop", "nope", "sub")] == [None] * 3


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for feed in (data, framed(data)):
        try:
            Packets(Small(100)).feed(feed)
        except (CortenError, Status) as error:
            assert str(error)


# --------------------------------------------------------------------------------------------------- which are kept


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Trees]:
    yield Trees(tmp_path / "trees")


async def test_a_tree_is_given_to_one_build_at_a_time_and_kept_for_the_next(kept: Trees, tmp_path: Path) -> None:
    one, two = kept.take("key"), kept.take("key")
    assert one != two and kept.take("other").parent != one.parent
    await kept.give(one, whole=True)
    await kept.give(two, whole=True)  # there is one already
    assert not two.exists()
    assert kept.take("key") == one
    await kept.give(one, whole=True)
    assert Trees(tmp_path / "trees").take("key") == one  # of another daemon


def test_a_step_of_any_user_may_read_a_tree(kept: Trees) -> None:
    before = os.umask(0o077)  # the daemon's
    try:
        assert modes.S_IMODE(kept.take("key").stat().st_mode) == 0o755
    finally:
        os.umask(before)


async def test_what_a_transfer_broke_off_is_not_kept(kept: Trees) -> None:
    path = kept.take("key")
    (path / "half").write_text("x")
    await kept.give(path, whole=False)
    assert not path.exists() and not list(kept.take("key").iterdir())


async def test_few_trees_are_kept_and_those_that_were_used_last(kept: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corten.build.trees.KEPT", 2)
    paths = [kept.take(f"{number}") for number in range(4)]
    now = time.time() - 100
    for age, path in enumerate(paths):
        await kept.give(path, whole=True)
        if path.exists():
            os.utime(path.parent, (now + age, now + age))
    assert [path.exists() for path in paths] == [False, False, True, True]


def test_names_change_with_what_is_in_them(kept: Trees) -> None:
    path = kept.take("key")
    first = kept.name(path, changed=True)
    assert kept.name(path, changed=False) == first
    assert kept.name(path, changed=True) != first


# ------------------------------------------------------------------------------------------------------ reading quickly

NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)


def decoded(read: Callable[[bytes], Stat], data: bytes) -> Stat | str:
    try:
        return read(data)
    except Invalid as error:
        return str(error)


@given(
    st.builds(
        Stat, st.text(max_size=9), NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.text(max_size=3),
        attributes=st.dictionaries(st.text(max_size=3), st.binary(max_size=3), max_size=2),
    ),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
    st.integers(0, 60),
)  # fmt: skip
def test_a_stat_is_read_as_the_table_reads_it(stat: Stat, changes: list[tuple[int, int]], cut: int) -> None:
    """Also one that is damaged."""
    data = bytearray(stat.encode())
    assert read_stat(bytes(data)) == stat
    for at, value in changes:
        if at < len(data):
            data[at] = value
    damaged = bytes(data[: len(data) - cut] if changes else data)
    assert decoded(read_stat, damaged) == decoded(Stat.decode, damaged)
