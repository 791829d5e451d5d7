"""Tars of clients as contexts: what is taken, what is refused, and that nothing stays of either."""

from __future__ import annotations

import asyncio
import errno
import gc
import gzip
import hashlib
import os
import stat
import tarfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from corten.build import contexts
from corten.build.archive import ArchiveClient
from corten.build.contexts import Context, Contexts
from corten.build.trees import Trees
from corten.errors import Invalid, NotFound
from corten.layers import tree
from corten.layers.sums import entry
from image_parts.workers import ForkWorkers

ONE = 65  # bytes of a hash that is known, with what the file is known by
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: everything in a context belongs to root")


def member(name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o640) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.uid, info.gid, info.mtime = kind, link, mode, 1000, 1000, 5
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    body = data if info.size else b""
    return info.tobuf() + body + bytes(-len(body) % 512)


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data


END = bytes(1024)


async def test_files_are_as_they_came_and_belong_to_root(tmp_path: Path) -> None:
    receiving = Contexts(tmp_path / "contexts", ForkWorkers())
    data = member("d/.wh.x") + member("suid", mode=0o4755) + member("link", kind=tarfile.SYMTYPE, link="/etc/passwd")
    data += member("d/hard", kind=tarfile.LNKTYPE, link="suid")
    context = await receiving.receive(body(data + END))
    status = os.lstat(context.directory / "suid")
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime) == (0, 0, 0o4755, 5)
    assert (context.directory / "d/.wh.x").read_bytes() == b"x"
    assert os.stat(context.directory / "d/hard").st_ino == status.st_ino
    assert os.readlink(context.directory / "link") == "/etc/passwd"
    with pytest.raises(NotFound):
        context.read("link")  # leads to a file that the context does not have
    await context.remove()
    assert os.listdir(tmp_path / "contexts") == []


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (member("../x") + END, Invalid, "escapes"),
        (member("a/../../x") + END, Invalid, "escapes"),
        (
            member("hard", kind=tarfile.LNKTYPE, link="nothing") + END,
            Invalid,
            "hard link to a file that does not exist",
        ),
        (member("hard", kind=tarfile.LNKTYPE, link="../../etc/passwd") + END, Invalid, "escapes"),
        (b"\x1f\x8b" + bytes(600), Invalid, "."),
        (b"no tar" * 200, Invalid, "."),
        (member("cut", b"y" * 2000)[:1000], Invalid, "."),
    ],
)
async def test_what_is_refused_leaves_nothing(
    tmp_path: Path, data: bytes, error: type[Exception], message: str
) -> None:
    receiving = Contexts(tmp_path / "contexts", ForkWorkers())
    with pytest.raises(error, match=message):
        await receiving.receive(body(data))
    assert os.listdir(tmp_path / "contexts") == []


async def test_links_lead_nowhere_else(tmp_path: Path) -> None:
    """A directory that is a link to the host's: what is written by it stays in the context."""
    receiving = Contexts(tmp_path / "contexts", ForkWorkers())
    target = tmp_path / "target"
    target.mkdir()
    data = member("out", kind=tarfile.SYMTYPE, link=str(target)) + member("out/file") + END
    context = await receiving.receive(body(data))
    assert os.listdir(target) == [] and (context.directory / str(target)[1:] / "file").exists()
    await context.remove()


async def test_a_start_removes_what_was_left(tmp_path: Path) -> None:
    receiving = Contexts(tmp_path / "contexts", ForkWorkers())
    await receiving.receive(body(member("d/x") + END))
    sweeping = Contexts(tmp_path / "contexts", ForkWorkers()).sweep()
    assert sweeping is not None
    sweeping.join()
    assert os.listdir(tmp_path / "contexts") == []
    assert Contexts(tmp_path / "contexts", ForkWorkers()).sweep() is None
    assert Contexts(tmp_path / "none", ForkWorkers()).sweep() is None


async def test_a_start_does_not_wait_for_what_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build has its context meanwhile, which stays."""
    await Contexts(tmp_path / "contexts", ForkWorkers()).receive(body(member("d/x") + END))
    asked, go, remove = threading.Event(), threading.Event(), tree.remove

    def removed(dirfd: int, name: bytes, enough: Callable[[], bool] | None = None) -> bool:
        asked.set()
        go.wait()
        return remove(dirfd, name, enough)

    monkeypatch.setattr(tree, "remove", removed)
    contexts = Contexts(tmp_path / "contexts", ForkWorkers())
    sweeping = contexts.sweep()
    assert sweeping is not None and asked.wait(60)
    context = await contexts.receive(body(member("d/y") + END))
    go.set()
    sweeping.join()
    assert os.listdir(tmp_path / "contexts") == [context.id] and (context.directory / "d/y").exists()
    await context.remove()


async def test_what_cannot_be_removed_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "contexts" / "busy").mkdir(parents=True)
    (tmp_path / "contexts" / "other").mkdir()

    def refused(dirfd: int, name: bytes, enough: Callable[[], bool] | None = None) -> bool:
        if name == b"busy":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return remove(dirfd, name, enough)

    remove = tree.remove
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree, "remove", refused)
        sweeping = Contexts(tmp_path / "contexts", ForkWorkers()).sweep()
        assert sweeping is not None
        sweeping.join()
    assert os.listdir(tmp_path / "contexts") == ["busy"]
    assert "the context busy of an earlier daemon was not removed" in caplog.text


async def test_a_large_body_behind_what_is_refused(tmp_path: Path) -> None:
    data = member("../escapes") + member("large", bytes(8 << 20)) + END
    with pytest.raises(Invalid, match="escapes"):
        async with asyncio.timeout(30):
            await Contexts(tmp_path / "contexts", ForkWorkers()).receive(body(data))
    assert os.listdir(tmp_path / "contexts") == []


async def test_a_body_that_breaks_off_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield member("a", b"x" * 2000)[:1000]
        raise Invalid("the client has disconnected")

    with pytest.raises(Invalid, match="disconnected"):
        await Contexts(tmp_path / "contexts", ForkWorkers()).receive(broken())
    gc.collect()
    assert caplog.messages == []


async def test_small_files_are_small(tmp_path: Path) -> None:
    receiving = Contexts(tmp_path / "contexts", ForkWorkers())
    large = member("Dockerfile", b"#" * (4 << 20) + b"#")
    context = await receiving.receive(body(large + member("fifo", kind=tarfile.FIFOTYPE) + END))
    client = ArchiveClient(context, {})
    with pytest.raises(Invalid, match="larger than"):
        await client.files("dockerfile", ["Dockerfile"])
    with pytest.raises(Invalid, match="cannot be read"):
        await client.files("dockerfile", ["fifo"])
    assert await client.files("dockerfile", ["nothing"]) == {}
    await context.remove()


async def test_credentials_of_docker_hub_have_many_names() -> None:
    client = ArchiveClient(None, {"https://index.docker.io/v1/": ("u", "p"), "r.example:5000": ("", "token")})
    assert await client.credentials("docker.io") == ("u", "p")
    assert await client.credentials("r.example:5000") == ("", "token")
    assert await client.credentials("r.example") is None
    with pytest.raises(NotFound, match="there is no context"):
        await client.tree("context", (), (), lambda count: None)


async def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "ALWAYS", 1 << 20)
    receiving = Contexts(tmp_path / "contexts", ForkWorkers())
    small = gzip.compress(member("a", bytes(1 << 19)) + END)
    await (await receiving.receive(body(small))).remove()
    bomb = gzip.compress(member("a", bytes(1 << 22)) + END)
    with pytest.raises(Invalid, match="this looks like a zip bomb"):
        await receiving.receive(body(bomb))
    assert os.listdir(tmp_path / "contexts") == []


async def test_their_directories_are_made_where_the_daemon_spreads_them(tmp_path: Path) -> None:
    made: list[tuple[Path, int]] = []

    def mkdir(path: Path, mode: int) -> None:
        made.append((path, mode))
        os.mkdir(path, mode)

    context = await Contexts(tmp_path / "contexts", ForkWorkers(), mkdir).receive(body(member("file") + END))
    assert made == [(context.holder, 0o700)]
    assert (context.directory / "file").read_bytes() == b"x"
    await context.remove()


def known(context: Context) -> dict[str, bytes]:
    """The hash that is known of each file; what it is known by is what the kernel says of the file."""
    names = {}
    for name in os.listdir(context.directory):
        status = os.lstat(context.directory / name)
        names[entry(status, b"")[:32]] = name
    entries = [context.sums[at : at + ONE] for at in range(0, len(context.sums), ONE)]
    return {names[each[:32]]: each[32:64] for each in entries if each[:32] in names}


async def test_files_are_hashed_while_they_come(tmp_path: Path) -> None:
    receiving = Contexts(tmp_path / "contexts", ForkWorkers())
    large = os.urandom(3 << 20)
    context = await receiving.receive(body(member("a", b"1") + member("empty", b"") + member("large", large) + END))
    contents = {"a": b"1", "empty": b"", "large": large}
    assert known(context) == {name: hashlib.sha256(data).digest() for name, data in contents.items()}
    assert (context.directory / "large").read_bytes() == large
    await context.remove()


async def test_what_was_replaced_leaves_no_hash_behind(tmp_path: Path) -> None:
    """The second file may have the inode, the size and the times of the first."""
    receiving = Contexts(tmp_path / "contexts", ForkWorkers())
    context = await receiving.receive(body(member("a", b"1") + member("b", b"1") + member("b", b"2") + END))
    assert len(context.sums) == ONE
    assert known(context) == {"b": hashlib.sha256(b"2").digest()}
    await context.remove()


async def test_one_that_comes_again_is_kept(tmp_path: Path) -> None:
    """From its second build on; files that are as they were are the same ones."""
    kept = Trees(tmp_path / "trees")
    receiving = Contexts(tmp_path / "contexts", ForkWorkers(), kept=kept)
    inodes = []
    for number in range(4):
        data = member("a") + member("b", b"%d" % number) + (member("d") if number == 1 else b"") + END
        context = await receiving.receive(body(data), "key")
        assert (context.holder is None) is (number > 0)
        assert (context.directory / "b").read_bytes() == b"%d" % number
        assert (context.directory / "d").exists() is (number == 1)
        assert len(context.sums) == (2 * ONE if number == 0 else 3 * ONE if number == 1 else ONE)
        inodes.append((context.directory / "a").stat().st_ino)
        await context.remove()
    assert inodes[1] == inodes[2] == inodes[3]
    assert [tree.size for tree in kept.every()] == [2] and os.listdir(tmp_path / "contexts") == []
    later = Contexts(tmp_path / "contexts", ForkWorkers(), kept=Trees(tmp_path / "trees"))  # of another daemon
    context = await later.receive(body(member("a") + END), "key")
    assert (context.directory / "a").stat().st_ino == inodes[3] and not (context.directory / "b").exists()
    await context.remove()


async def test_builds_of_one_key_side_by_side_have_one_each(tmp_path: Path) -> None:
    receiving = Contexts(tmp_path / "contexts", ForkWorkers(), kept=Trees(tmp_path / "trees"))
    for _ in range(2):
        await (await receiving.receive(body(member("a") + END), "key")).remove()
    both = [await receiving.receive(body(member("a", data) + END), "key") for data in (b"1", b"2")]
    assert [(context.directory / "a").read_bytes() for context in both] == [b"1", b"2"]
    for context in both:
        await context.remove()
    assert len(list((tmp_path / "trees").glob("*/*/a"))) == 1


async def test_one_that_breaks_off_is_not_kept(tmp_path: Path) -> None:
    kept = Trees(tmp_path / "trees")
    receiving = Contexts(tmp_path / "contexts", ForkWorkers(), kept=kept)
    for _ in range(2):
        await (await receiving.receive(body(member("a") + END), "key")).remove()
    with pytest.raises(Invalid):
        await receiving.receive(body(member("b") + member("../c") + END), "key")
    assert kept.every() == [] and list((tmp_path / "trees").iterdir()) == []
    await (await receiving.receive(body(member("a") + END), "key")).remove()


async def test_without_a_key_none_is_kept(tmp_path: Path) -> None:
    receiving = Contexts(tmp_path / "contexts", ForkWorkers(), kept=Trees(tmp_path / "trees"))
    for _ in range(3):
        await (await receiving.receive(body(member("a") + END))).remove()
    assert not (tmp_path / "trees").exists()
