"""The sending side of fsutil's transfer against the receiving one, and against receivers that do not keep to it."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from corten.build.transfer.sink import TreeSink
from corten.buildkit.packets import Packets
from corten.errors import Invalid
from corten.http2.grpc import Cut
from corten.layers.collected import Extra, Part, walk
from corten.layers.sending import Sending
from corten.spec.protobuf.session import DATA, FINISH, REQUEST, STAT, Packet


@dataclass
class Sender:
    """`Sending` in a thread: `out` is what it says, `asked` where it is asked."""

    parts: Sequence[Part]
    epoch: int | None = None
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.out, out = os.pipe()
        asked, self.asked = os.pipe()
        self.thread = threading.Thread(target=self._run, args=(out, asked))
        self.thread.start()

    def _run(self, out: int, asked: int) -> None:
        try:
            Sending(out, asked, walk(self.parts), self.epoch).run()
        except (Invalid, OSError) as error:
            self.errors.append(error)
        finally:
            os.close(out)
            os.close(asked)

    def ask(self, *numbers: int) -> None:
        os.write(self.asked, b"".join(number.to_bytes(4, "little") for number in numbers))

    def finish(self) -> None:
        if self.asked >= 0:
            os.close(self.asked)
            self.asked = -1

    def packets(self) -> Iterator[Packet]:
        cut = Cut()
        while data := os.read(self.out, 1 << 16):
            yield from (Packet.decode(message) for message in cut.feed(data))

    def close(self) -> None:
        self.finish()
        os.close(self.out)
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "source"
    (root / "sub/deep/empty").mkdir(parents=True)
    (root / "a").write_bytes(b"a" * 100_000)
    os.link(root / "a", root / "sub/hard")
    (root / "sub/deep/x").write_text("x")
    (root / "sub-x").write_text("")
    (root / "link").symlink_to("sub/deep")
    os.mkfifo(root / "fifo")
    (root / "sub/deep/x").chmod(0o4751)
    with (root / "holes").open("wb") as file:
        file.truncate(1 << 20)
    os.utime(root / "a", ns=(1, 1_234_567_890_123_456_789))
    yield root


def part(root: Path, directory: bytes = b"", extra: tuple[Extra, ...] = ()) -> Part:
    return Part(os.open(root, os.O_RDONLY | os.O_DIRECTORY), directory, extra)


def receive(sender: Sender, target: Path) -> None:
    """What the receiving side makes of it."""
    target.mkdir()
    sink = TreeSink(target)
    receiver = Packets(sink)
    cut = Cut()
    try:
        while not receiver.finished:
            data = os.read(sender.out, 1 << 16)
            assert data, sender.errors
            for message in cut.feed(receiver.feed(data)):
                packet = Packet.decode(message)
                if packet.type == REQUEST:
                    sender.ask(packet.id)
                else:
                    sender.finish()
    finally:
        sink.close()
        sender.close()


def test_a_tree_arrives_as_it_is(source: Path, tmp_path: Path) -> None:
    receive(Sender([part(source)]), target := tmp_path / "target")
    found = {path.relative_to(target).as_posix(): path.lstat() for path in target.rglob("*")}
    wanted = {path.relative_to(source).as_posix(): path.lstat() for path in source.rglob("*")}
    assert found.keys() == wanted.keys()
    for name, status in wanted.items():
        assert found[name].st_mode == status.st_mode, name
        if stat.S_ISREG(status.st_mode):
            assert (target / name).read_bytes() == (source / name).read_bytes()
            assert found[name].st_mtime_ns == status.st_mtime_ns
    assert found["a"].st_ino == found["sub/hard"].st_ino and os.readlink(target / "link") == "sub/deep"


def test_several_trees_and_files_beside_them_at_one_time(source: Path, tmp_path: Path) -> None:
    fd = os.memfd_create("extra")
    os.write(fd, b"onetwo")
    extra = (Extra(b"b.json", fd, 0, 3), Extra(b"z.json", fd, 3, 3))
    parts = [part(source, b"linux_b", extra), Part(None, b"linux_a")]
    receive(Sender(parts, epoch=1000), target := tmp_path / "target")
    assert sorted(path.name for path in target.iterdir()) == ["linux_a", "linux_b"]
    assert not list((target / "linux_a").iterdir())
    assert (target / "linux_b/b.json").read_text() == "one" and (target / "linux_b/z.json").read_text() == "two"
    assert {path.lstat().st_mtime for path in target.rglob("*") if path.is_file()} == {1000}


def test_a_file_beside_that_is_in_the_way(source: Path) -> None:
    fd = os.memfd_create("extra")
    sender = Sender([part(source, extra=(Extra(b"a", fd, 0, 0),))])
    list(sender.packets())
    sender.close()
    assert "already" in str(sender.errors[0])


def test_contents_are_sent_when_they_are_asked_for_alone(source: Path) -> None:
    sender = Sender([part(source)])
    packets, names = sender.packets(), dict[str, int]()
    for packet in packets:
        if packet.stat is None:
            break
        names[packet.stat.path] = len(names)
    sender.ask(names["sub/deep/x"])
    found = [next(packets), next(packets)]
    assert [(each.type, each.id, each.data) for each in found] == [
        (DATA, names["sub/deep/x"], b"x"),
        (DATA, names["sub/deep/x"], b""),
    ]
    sender.finish()
    assert next(packets).type == FINISH
    sender.close()
    assert not sender.errors


@pytest.mark.parametrize("name", ["sub", "link", "sub/hard", "nothing"])
def test_what_has_no_contents_cannot_be_asked_for(source: Path, name: str) -> None:
    sender = Sender([part(source)])
    names = dict[str, int]()
    for packet in sender.packets():
        if packet.stat is None:
            break
        names[packet.stat.path] = len(names)
    sender.ask(names.get(name, 100_000))
    assert not [packet for packet in sender.packets() if packet.type != STAT]
    sender.close()
    assert "which is none, or was asked for" in str(sender.errors[0])


def test_no_file_twice(source: Path) -> None:
    sender = Sender([part(source)])
    first = next(packet for packet in sender.packets() if packet.stat is not None and packet.stat.path == "a")
    assert first.stat is not None and first.stat.size == 100_000
    sender.ask(0, 0)
    list(sender.packets())
    sender.close()
    assert sender.errors


def test_an_end_before_everything_was_said(tmp_path: Path) -> None:
    root = tmp_path / "large"
    root.mkdir()
    (root / "a").write_bytes(bytes(1 << 20))
    sender = Sender([part(root)])
    sender.ask(0)
    sender.finish()
    list(sender.packets())
    sender.close()
    assert "before everything was there" in str(sender.errors[0])


def test_a_receiver_that_is_gone(source: Path) -> None:
    sender = Sender([part(source)])
    next(sender.packets())
    sender.ask(0)
    sender.close()
    assert isinstance(sender.errors[0], BrokenPipeError | Invalid)
