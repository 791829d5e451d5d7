"""Both ends of a build's connection against one another, and the daemon's against a client that is none."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from corten.build.framed import connection as connections
from corten.build.framed.client import FramedClient
from corten.build.framed.connection import Connection
from corten.build.framed.sink import FramedSink
from corten.build.trees import Trees
from corten.cli.buildoutputs import File
from corten.cli.buildsecrets import AgentConnection
from corten.client.api import Upgraded
from corten.client.conversation import Conversation, Last, Said
from corten.client.errors import BadAnswer
from corten.client.walks import Directory, Given
from corten.errors import CortenError, Failed, Invalid, Unavailable
from corten.spec import build_frames as f
from corten.spec.json import Json
from e2e_parts.patience import PATIENCE

if TYPE_CHECKING:
    from corten.client.conversation import Answering


@pytest.fixture
def files(tmp_path: Path) -> Path:
    top = tmp_path / "files"
    (top / "sub").mkdir(parents=True)
    (top / "a").write_text("A")
    (top / "sub/large").write_bytes(os.urandom(3 * f.PIECE + 5))
    (top / ".dockerignore").write_text("*.log\n")
    (top / "x.log").write_text("no")
    return top


@asynccontextmanager
async def joined(
    answering: Mapping[str, Answering], trees: Trees, keys: Mapping[str, str]
) -> AsyncIterator[tuple[FramedClient, list[Json]]]:
    """A client of ours in a thread; the list has what was said."""
    ours, theirs = socket.socketpair()
    documents: list[Json] = []
    talk = Conversation(Upgraded(theirs, b"", ""), answering)
    thread = threading.Thread(target=lambda: documents.extend(talk.documents()))
    thread.start()
    connection = Connection(ours.detach(), b"")
    client = FramedClient(connection, trees, keys)
    try:
        yield client, documents
    finally:
        await client.close()
        await connection.close()
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive()


def walking(directories: Mapping[str, Directory | Given]) -> Answering:
    return lambda question: directories[question["source"]].walk(question["follow"], question["exclude"])


async def test_a_directory_comes_once_and_then_what_has_changed(files: Path, tmp_path: Path) -> None:
    trees, counts = Trees(tmp_path / "trees"), list[int]()
    directory = Directory(str(files))
    for number in range(3):
        async with joined({"walk": walking({"context": directory})}, trees, {"context": directory.key}) as (client, _):
            found = await client.files("context", [".dockerignore", "nope"])
            assert found == {".dockerignore": b"*.log\n"}
            tree = await client.tree("context", (), ["*.log"], counts.append)
            assert (tree.directory / "sub/large").read_bytes() == (files / "sub/large").read_bytes()
            assert not (tree.directory / "x.log").exists()
            assert counts[-1] == [3 * f.PIECE + 5 + 7, 0, 3][number]
        counts.clear()
        if number:
            (files / "a").write_text("new")


async def test_what_a_client_does_not_keep_is_removed(tmp_path: Path) -> None:
    trees = Trees(tmp_path / "trees")
    async with joined({"walk": walking({"context": Given({"a": b"1"})})}, trees, {"context": ""}) as (client, _):
        tree = await client.tree("context", (), (), lambda count: None)
        assert (tree.directory / "a").read_bytes() == b"1"
    assert not tree.directory.exists()


@pytest.mark.parametrize("numbers", [range(1, 300), [1, 1]], ids=["many", "twice"])
def test_a_daemon_that_asks_without_end(numbers: Iterable[int]) -> None:
    """It reads nothing: no answer may be kept for each of its questions."""
    ours, theirs = socket.socketpair()
    closed: list[None] = []

    class Held(Said):
        def close(self) -> None:
            closed.append(None)

    talk = Conversation(Upgraded(theirs, b"", ""), {"secret": lambda question: Held(b"x")})
    with ours:
        ours.sendall(b"".join(f.frame(f.CALL, number, b'{"do": "secret", "id": "a"}') for number in numbers))
        with pytest.raises(BadAnswer, match="more than 256 questions at a time"):
            list(talk.documents())
    assert len(closed) in (1, 256)


def test_questions_that_have_ended_are_not_counted() -> None:
    ours, theirs = socket.socketpair()
    talk = Conversation(Upgraded(theirs, b"", ""), {"secret": lambda question: Said(b"x")})
    for _ in talk._said(b""):
        raise AssertionError
    for number in range(1, 1000):
        asked = f.frame(f.CALL, number, b'{"do": "secret", "id": "a"}') + f.frame(f.END, number)
        assert list(talk._said(asked)) == []
        talk._fill()
        talk._out.clear()
    assert not talk._answers
    talk.close()
    ours.close()


async def test_small_answers(tmp_path: Path) -> None:
    large = os.urandom(f.PIECE * 2)
    known = {"s": b"secret", "empty": b"", "large": large}

    def fails(question: Json) -> Said:
        raise PermissionError(13, "Permission denied", "/secret")

    answering: dict[str, Answering] = {
        "secret": lambda question: Said(known.get(question["id"])),
        "credentials": lambda question: Said(b'{"user": "u", "secret": "s"}' if question["host"] == "r" else None),
        "agent": fails,
    }
    async with joined(answering, Trees(tmp_path), {}) as (client, _):
        assert [await client.secret(id) for id in ("s", "empty", "large", "nope")] == [b"secret", b"", large, None]
        assert await client.credentials("r") == ("u", "s") and await client.credentials("x") is None
        with pytest.raises(Failed, match="open /secret: permission denied"):
            await client.agent("default")
        with pytest.raises(Invalid, match="no files to send"):
            await client.tree("context", (), (), lambda count: None)


async def test_a_file_that_cannot_be_read_ends_the_transfer(files: Path, tmp_path: Path) -> None:
    directory = Directory(str(files))
    walk = directory.walk((), ())

    def gone(question: Json) -> object:
        (files / "a").unlink()
        (files / "a").symlink_to("/etc/passwd")
        return walk

    rows = list(walk._rows or ())
    walk._rows = iter(rows)
    async with joined({"walk": gone}, Trees(tmp_path / "t"), {"context": "k"}) as (client, _):  # type: ignore[dict-item]
        with pytest.raises(Failed, match=r"error from sender: open .*/a: too many levels of symbolic links"):
            await client.tree("context", (), (), lambda count: None)
    assert not list((tmp_path / "t").glob("*/*"))


async def test_a_connection_to_an_agent(tmp_path: Path) -> None:
    listening = await asyncio.start_unix_server(_echo, tmp_path / "agent")
    answering: dict[str, Answering] = {
        "agent": lambda question: Said(b""),
        "connect": lambda question: AgentConnection(str(tmp_path / "agent")),
    }
    async with listening, joined(answering, Trees(tmp_path), {}) as (client, _):
        agent = await client.agent("default")
        assert agent is not None
        near, far = socket.socketpair()
        near.setblocking(False)
        carrying = asyncio.ensure_future(agent.connect(far.detach()))
        loop = asyncio.get_running_loop()
        with near:
            await loop.sock_sendall(near, b"question")
            assert await loop.sock_recv(near, 100) == b"noitseuq"
        await asyncio.wait_for(carrying, 60)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data[::-1])
    writer.close()


async def test_outputs(tmp_path: Path) -> None:
    """Small ones too, of which the end is there before the client has said anything."""

    def taking(question: Json) -> object:
        if question["number"] == 1:
            raise PermissionError(13, "Permission denied", "/out")
        return Said(None) if question["number"] == 2 else Last(f.END, b"") if question["number"] == 3 else place

    async with joined({"output": taking}, Trees(tmp_path), {}) as (client, _):  # type: ignore[dict-item]
        sink = FramedSink(client._connection)
        for size in (0, 10, 3 * f.PIECE):
            place = File(str(tmp_path / "out"))
            await asyncio.wait_for(sink.file(0, {}, _piece(bytes(size))), 60)
            assert (tmp_path / "out").read_bytes() == bytes(size)
            with pytest.raises(Failed, match="open /out: permission denied"):
                await asyncio.wait_for(sink.file(1, {}, _piece(bytes(size))), 60)
            with pytest.raises(Invalid, match="given no destination"):
                await asyncio.wait_for(sink.file(2, {}, _piece(bytes(size))), 60)
            await asyncio.wait_for(sink.file(3, {}, _piece(bytes(size))), 60)
        place = File(str(tmp_path / "other"))
        with pytest.raises(ZeroDivisionError):
            await sink.file(0, {}, _breaking())
    assert sorted(os.listdir(tmp_path)) == ["out"]  # nothing of one that broke off


async def _piece(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _breaking() -> AsyncIterator[bytes]:
    yield b"some"
    raise ZeroDivisionError


async def test_a_tar_on_standard_input(tmp_path: Path) -> None:
    async with joined({"upload": lambda question: Said(b"t" * (f.PIECE + 1))}, Trees(tmp_path), {}) as (client, _):
        assert b"".join([piece async for piece in client.upload()]) == b"t" * (f.PIECE + 1)


# ------------------------------------------------------------------------------------------------- who is no client


@asynccontextmanager
async def raw() -> AsyncIterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    connection = Connection(ours.detach(), b"")
    try:
        with theirs:
            yield connection, theirs
    finally:
        await connection.close()


DIRECTORY, FILE = 0o040755, 0o100644


def entries(*rows: tuple[int, bytes]) -> bytes:
    return b"".join(f.entry(mode, 1, 0, path) for mode, path in rows)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "no frame": (b"\xff" * 9, "is none of a build's connection"),
    "a question": (f.frame(f.CALL, 1, b"{}"), "kind 2 for the channel 1"),
    "an event": (f.frame(f.EVENT, 0, b"{}"), "kind 1 for the channel 0"),
    "another channel": (f.frame(f.DATA, 99, b"x"), "for the channel 99"),
    "a name above": (f.frame(f.ENTRIES, 1, entries((FILE, b"../x"))), "is refused"),
    "an absolute name": (f.frame(f.ENTRIES, 1, entries((FILE, b"/etc/passwd"))), "is refused"),
    "the wrong order": (f.frame(f.ENTRIES, 1, entries((FILE, b"b"), (FILE, b"a"))), "wrong order"),
    "no parent": (f.frame(f.ENTRIES, 1, entries((FILE, b"a"), (FILE, b"d/x"))), "not the directory"),
    "a device": (f.frame(f.ENTRIES, 1, entries((0o060600, b"\xff"))), r"the context has '\\udcff', which is a device"),
    "cut off": (f.frame(f.ENTRIES, 1, entries((FILE, b"a"))[:-1]), "cut off"),
    "not asked for": (f.frame(f.FILE, 1, f.numbered(7, b"x")), "which was not asked for"),
    "behind its end": (f.frame(f.ENTRIES, 1, entries((FILE, b"a"))) + f.frame(f.END, 1)
                       + f.frame(f.ENTRIES, 1, entries((FILE, b"b"))), "behind its end"),
    "another kind": (f.frame(f.DATA, 1, b"x"), "a frame of the kind 3"),
    "no number": (f.frame(f.FILE, 1, b"x"), "no number"),
    "too many attributes": (f.frame(f.ENTRIES, 1, entries((FILE, b"a"))) + f.frame(f.ATTRIBUTES, 1, f.numbered(
        0, b"".join(f.attribute(b"user.%d" % each, b"") for each in range(101)))), "more than 100 attributes"),
    "its own error": (f.frame(f.ERROR, 1, b"disk on fire"), "disk on fire"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
async def test_what_is_refused(tmp_path: Path, what: str) -> None:
    data, message = HOSTILE[what]
    trees = Trees(tmp_path / "trees")
    async with raw() as (connection, theirs):
        client = FramedClient(connection, trees, {"context": "key"})
        work = asyncio.ensure_future(client.tree("context", (), (), lambda count: None))
        await asyncio.get_running_loop().sock_recv(theirs, 1000)
        await asyncio.get_running_loop().sock_sendall(theirs, data)
        with pytest.raises(CortenError, match=message):
            await asyncio.wait_for(work, 60)
        await client.close()
    assert not list((tmp_path / "trees").glob("*/*"))


@pytest.mark.parametrize("answer", [b"[]", b'{"user": 1, "secret": ""}', b"\xff", b'{"user": "x"}', b"[" * 10000])
async def test_credentials_that_are_none(tmp_path: Path, answer: bytes) -> None:
    async with joined({"credentials": lambda question: Said(answer)}, Trees(tmp_path), {}) as (client, _):
        with pytest.raises(Invalid, match="not JSON of a user"):
            await client.credentials("r")


async def test_a_secret_without_an_end(tmp_path: Path) -> None:
    async with joined({"secret": lambda question: Said(bytes((1 << 20) + 1))}, Trees(tmp_path), {}) as (client, _):
        with pytest.raises(Invalid, match="larger than"):
            await client.secret("s")


async def test_frames_that_are_not_taken_are_bounded() -> None:
    """Empty ones, of which each is still something in memory."""
    async with raw() as (connection, theirs):
        with connection.call({"do": "secret"}) as channel:
            sending = asyncio.ensure_future(
                asyncio.get_running_loop().sock_sendall(theirs, f.frame(f.DATA, 1) * 500_000)
            )
            await asyncio.sleep(0)
            for _ in range(200):
                await asyncio.sleep(0.005)
                if channel.kept > connections._KEPT:
                    break
            kept = channel.kept
            for _ in range(20):
                await asyncio.sleep(0.005)
            assert channel.kept == kept <= connections._KEPT + (connections._READ // 9 + 1) * connections._OWN
            assert not sending.done()
        await asyncio.wait_for(sending, 20)  # what is for a channel that has been closed is thrown away


async def test_a_channel_that_is_not_read_holds_up_no_other() -> None:
    async with raw() as (connection, theirs):
        with connection.call({}, bounded=True) as deaf, connection.call({}) as other:
            data = f.frame(f.DATA, 1, bytes(f.PIECE)) * 40 + f.frame(f.DATA, 2, b"heard")
            sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(theirs, data))
            assert await asyncio.wait_for(other.receive(), 60) == (f.DATA, b"heard")
            await sending
            await deaf.receive_all()
            with pytest.raises(Unavailable, match="not read for too long"):
                await deaf.receive()


@pytest.mark.parametrize("ask", [lambda client: client.secret("s"), lambda client: client.files("dockerfile", ["D"])])
async def test_a_client_that_goes(tmp_path: Path, ask: Callable[[FramedClient], Coroutine[Any, Any, object]]) -> None:
    async with raw() as (connection, theirs):
        client = FramedClient(connection, Trees(tmp_path), {"dockerfile": ""})
        work = asyncio.ensure_future(ask(client))
        await asyncio.get_running_loop().sock_recv(theirs, 1000)
        theirs.shutdown(socket.SHUT_RDWR)
        with pytest.raises(Unavailable, match="has gone"):
            await asyncio.wait_for(work, 60)
        with pytest.raises(Unavailable, match="has gone"):
            connection.call({})


async def test_questions_are_bounded() -> None:
    async with raw() as (connection, _):
        for _ in range(connections._CHANNELS):
            connection.call({"do": "secret"})
        with pytest.raises(Unavailable, match="the most there can be"):
            connection.call({"do": "secret"})


async def test_an_event_of_any_size_is_read(tmp_path: Path) -> None:
    async with joined({}, Trees(tmp_path), {}) as (client, documents):
        await client._connection.send(f.EVENT, 0, b'{"error":"' + b"x" * (3 << 20) + b'"}')
    assert [len(each["error"]) for each in documents] == [3 << 20]


async def test_a_client_that_reads_nothing_is_not_asked_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection that a step begins to its agent is a question."""
    monkeypatch.setattr(connections, "_BEHIND", 1 << 20)
    ours, theirs = socket.socketpair()
    with theirs:
        connection = Connection(ours.detach(), b"")
        with pytest.raises(Unavailable, match="the client does not read"):
            for _ in range(100_000):
                with connection.call({"do": "connect", "id": "default"}, bounded=True):
                    pass
        theirs.close()
        await connection.close()
