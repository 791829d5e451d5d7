"""Tars of clients as contexts: what is taken, what is refused, and that nothing stays of either."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import stat
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corten.build import contexts
from corten.build.archive import ArchiveClient
from corten.build.contexts import Contexts
from corten.errors import Invalid, NotFound
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
