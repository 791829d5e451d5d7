"""A helper ends when its request's other side does, whatever it is in the middle of; and launcher.log stays small."""

from __future__ import annotations

import os
import select
import socket
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corten.supervisor import wire
from corten.tasks import launcher as launcher_module
from corten.tasks.launcher import Launcher
from leases import leased

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
SIZE = 8 << 20


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    top = tmp_path / "tree"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    yield top, fd
    os.close(fd)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its ends stay open: it is not the pipe that ends a helper here."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def until(check: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 20
    while not (found := check()):
        assert time.monotonic() < deadline, what
    return found


def helper(launcher: Launcher) -> int:
    """A descriptor of the one process that the launcher has forked."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    return os.pidfd_open(int(until(children.read_text, "a helper").split()[0]))


def ends(helper: int, asking: socket.socket) -> None:
    asking.close()
    ended = select.poll()
    ended.register(helper, select.POLLIN)
    assert ended.poll(5_000), "it goes on"
    os.close(helper)


def bound(path: Path) -> dict[str, Any]:
    return {"type": "bind", "source": str(path), "destination": "/", "options": ["bind"]}


def half_a_file() -> bytes:
    info = tarfile.TarInfo("file")
    info.size = SIZE
    return info.tobuf() + bytes(4096)


def test_unpack(launcher: Launcher, tree: tuple[Path, int], pipe: tuple[int, int]) -> None:
    asking = launcher.connect({"do": "unpack"}, [pipe[0], tree[1]])
    os.write(pipe[1], half_a_file())
    until((tree[0] / "file").exists, "the beginning of a file")
    ends(helper(launcher), asking)


def test_put(launcher: Launcher, tree: tuple[Path, int], pipe: tuple[int, int]) -> None:
    request = {"do": "tree put", "path": "/", "rootfs": bound(tree[0]), "bare": True}
    asking = launcher.connect(request, [pipe[0]])
    os.write(pipe[1], half_a_file())
    until((tree[0] / "file").exists, "the beginning of a file")
    ends(helper(launcher), asking)


@pytest.mark.parametrize("work", ["export", "fetch", "changes", "layer"])
def test_what_sends(launcher: Launcher, tree: tuple[Path, int], pipe: tuple[int, int], work: str) -> None:
    (tree[0] / "file").write_bytes(os.urandom(SIZE))
    for number in range(5000):
        (tree[0] / f"{number}{'n' * 200}").touch()
    request = {"do": f"tree {work}", "path": "/", "rootfs": bound(tree[0]), "bare": True, "whole": True}
    given = [tree[1]] if work in ("changes", "layer") else []
    asking = launcher.connect(request, [pipe[1], *given])
    asking.setblocking(True)
    decoder = wire.Decoder()
    assert wire.receive(asking, decoder)
    answer = decoder.next()
    assert answer is not None and "ok" in answer[0], answer
    ends(helper(launcher), asking)


def test_copy_up(launcher: Launcher, tmp_path: Path, tree: tuple[Path, int]) -> None:
    """A daemon that was killed: the next one erases what this would go on filling."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(20_000):
        os.mknod(source / str(number))
    request = {"do": "copy up", "path": "/", "rootfs": [bound(source)], "uids": [], "gids": []}
    with leased(source / os.listdir(source)[0]):  # which is copied last: it is not done before this process looks
        asking = launcher.connect(request, [tree[1]])
        until(lambda: os.listdir(tree[0]), "a first file")
        ends(helper(launcher), asking)
    assert len(os.listdir(tree[0])) < 20_000, "it was interrupted"


def test_an_answer_that_fills_the_socket_is_sent_whole(launcher: Launcher, tree: tuple[Path, int]) -> None:
    """Room in the socket could be a reason for SIGIO as well; it is none for a process that waits for it."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    asking = launcher.connect({"do": "unpack"}, [reader, tree[1]])
    os.close(reader)
    with open(writer, "wb") as file:
        file.write(b"".join(in_a_directory(number) for number in range(5000)) + bytes(1024))
    assert select.select([asking], [], [], 20)[0]
    asking.setblocking(True)
    decoder, frame = wire.Decoder(), None
    while frame is None:
        assert wire.receive(asking, decoder)
        frame = decoder.next()
    assert len(frame[0]["ok"]["implied"]) == 5001
    asking.close()


def in_a_directory(number: int) -> bytes:
    return tarfile.TarInfo(f"{number:080d}/file").tobuf()


def test_the_log_is_kept_short(launcher: Launcher, tmp_path: Path, tree: tuple[Path, int]) -> None:
    path = tmp_path / "launcher.log"
    with path.open("ab") as appending:  # as a supervisor that runs for months
        for number in range(60_000):
            appending.write(b"%020d a line of some process\n" % number)
        appending.flush()
        for _ in range(launcher_module._LOOK):
            launcher.connect({"do": "tree look", "path": "/", "rootfs": bound(tree[0]), "bare": True}).close()
        assert path.stat().st_size <= launcher_module.MAX_LOG // 2 + 100
        lines = path.read_text().splitlines()
        assert lines[-1] == f"{59_999:020d} a line of some process" and len(lines[0]) == len(lines[-1])
        appending.write(b"and on\n")
        appending.flush()
    assert path.read_text().endswith("a line of some process\nand on\n")
    path.write_bytes(b"")
