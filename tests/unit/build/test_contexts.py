"""Tars of clients as contexts: what is taken, what is refused, and that nothing stays of either."""

from __future__ import annotations

import asyncio
import gc
import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corten.build import contexts
from corten.build.archive import ArchiveClient
from corten.build.contexts import Context, Contexts
from corten.errors import Invalid, NotFound
from corten.layers.sums import entry
from image_parts.workers import ForkWorkers

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
    Contexts(tmp_path / "contexts", ForkWorkers()).sweep()
    assert os.listdir(tmp_path / "contexts") == []
    Contexts(tmp_path / "none", ForkWorkers()).sweep()


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
    assert made == [(context.directory, 0o700)]
    assert (context.directory / "file").read_bytes() == b"x"
    await context.remove()


def known(context: Context) -> dict[str, bytes]:
    """The hash that is known of each file; what it is known by is what the kernel says of the file."""
    names = {}
    for name in os.listdir(context.directory):
        status = os.lstat(context.directory / name)
        names[entry(status, b"")[:32]] = name
    entries = [context.sums[at : at + 64] for at in range(0, len(context.sums), 64)]
    return {names[each[:32]]: each[32:] for each in entries if each[:32] in names}


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
    assert len(context.sums) == 64
    assert known(context) == {"b": hashlib.sha256(b"2").digest()}
    await context.remove()
