"""What goes to a client of a session, and clients that do not take it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from corten.build import patience
from corten.build.outputs.contract import PlatformTree, Tree, Walk
from corten.buildkit.outputs import SessionSink
from corten.buildkit.sending import Asking
from corten.buildkit.sessions import Sessions
from corten.errors import Corrupt, CortenError, Failed, Invalid, NotFound, Unavailable
from corten.http2 import grpc
from corten.http2.grpc import Call, Function, Status, framed
from corten.spec import digest as digests
from corten.spec.oci_image import Descriptor
from corten.spec.protobuf import content as c
from corten.spec.protobuf import session as m
from corten.spec.protobuf.session import BytesMessage, Packet, Stat
from unit.buildkit.test_sessions import session

SEND = "/moby.filesync.v1.FileSend/DiffCopy"
CONTENT = "/containerd.services.content.v1.Content/"


@pytest.fixture
def every() -> Sessions:
    return Sessions()


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        yield each


@asynccontextmanager
async def sink(every: Sessions, **functions: Function) -> AsyncIterator[SessionSink]:
    names = {"send": SEND, "info": CONTENT + "Info", "read": CONTENT + "Read", "write": CONTENT + "Write"}
    async with session(every, "one", {names[name]: function for name, function in functions.items()}):
        yield SessionSink(await every.find("one"))


# -------------------------------------------------------------------------------------------------------------- a file


async def test_a_file_and_what_is_said_of_it(every: Sessions) -> None:
    got, seen = bytearray(), list[Call]()

    async def take(call: Call) -> None:
        seen.append(call)
        grpc.begin(call.stream)
        while (message := await call.receive()) is not None:
            got.extend(BytesMessage.decode(message).data)

    async with sink(every, send=take) as to:
        await to.file(3, {"containerimage.digest": "sha256:x"}, pieces(b"one", b"2" * 3_000_000))
    assert got == b"one" + b"2" * 3_000_000
    assert seen[0].metadata["buildkit-attachable-exporter-id"] == ["3"]
    assert seen[0].metadata["exporter-md-containerimage.digest"] == ["sha256:x"]


@pytest.mark.parametrize(
    ("status", "error"), [(Status(grpc.UNKNOWN, "no space left"), Failed), (Status(6, "it is there"), None)]
)
async def test_a_client_that_does_not_want_it(every: Sessions, status: Status, error: type[Exception] | None) -> None:
    async def refuse(call: Call) -> None:
        grpc.begin(call.stream)
        await call.receive()
        raise status

    async with sink(every, send=refuse) as to:
        if error is None:
            await to.file(0, {}, pieces(b"x"))
            return
        with pytest.raises(error, match="no space left"):
            await to.file(0, {}, pieces(b"x"))


async def test_a_client_that_leaves(every: Sessions) -> None:
    async def take(call: Call) -> None:
        grpc.begin(call.stream)
        await call.receive()
        call.stream.reset()
        await asyncio.Event().wait()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100_000

    async with sink(every, send=take) as to:
        with pytest.raises(Unavailable):
            await to.file(0, {}, endless())


async def test_a_client_that_takes_none(every: Sessions) -> None:
    async with sink(every) as to:
        with pytest.raises(Invalid, match="takes no files"):
            await to.file(0, {}, pieces(b""))
        with pytest.raises(Invalid, match="no store"):
            await to.contents("x").size("sha256:" + "0" * 64)


# --------------------------------------------------------------------------------------------------------- a directory


class Scripted:
    """A tree of one file, as `corten.build.outputs.contract.Walk` and what reads it."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._news: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = False

    def tree(self) -> Tree:
        return Tree(self, (PlatformTree("x"),))

    def tar(
        self, trees: Sequence[PlatformTree], epoch: int | None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        raise AssertionError("a session takes no tar")

    async def digests(self, top: str | None) -> dict[str, str]:
        raise AssertionError("nothing is attested of it")

    @asynccontextmanager
    async def walk(self, trees: Sequence[PlatformTree], epoch: int | None) -> AsyncIterator[Walk]:
        self._news.put_nowait(framed(Packet(stat=Stat("a", 0o644, size=1)).encode()) + framed(Packet().encode()))
        try:
            yield self
        finally:
            self.closed = True

    async def pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self._news.get()) is not None:
            yield piece

    async def ask(self, numbers: Sequence[int]) -> None:
        self.asked += numbers
        self._news.put_nowait(framed(Packet(m.DATA, data=b"A").encode()) + framed(Packet(m.DATA).encode()))

    def finish(self) -> None:
        self._news.put_nowait(framed(Packet(m.FINISH).encode()))
        self._news.put_nowait(None)


def receiver(*says: Packet) -> Function:
    """Says this after the walk, and then reads on."""

    async def take(call: Call) -> None:
        grpc.begin(call.stream)
        await call.receive()
        await call.receive()
        for packet in says:
            await call.send(packet.encode())
        while await call.receive() is not None:
            pass

    return take


async def test_a_directory(every: Sessions) -> None:
    walk = Scripted()
    async with sink(every, send=receiver(Packet(m.REQUEST), Packet(m.FINISH))) as to:
        await to.tree(0, walk.tree())
    assert walk.asked == [0] and walk.closed


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ([Packet(m.ERROR, data=b"disk full")], "error from receiver: disk full"),
        ([Packet(m.DATA, data=b"x")], "a packet of the type 2"),
        ([Packet(m.REQUEST, id=-1)], "a packet of the type 1"),
        ([Packet(m.FINISH), Packet(m.REQUEST)], "went on behind its end"),
    ],
)
async def test_a_receiver_that_does_not_keep_to_it(every: Sessions, says: list[Packet], error: str) -> None:
    walk = Scripted()
    async with sink(every, send=receiver(*says)) as to:
        with pytest.raises(CortenError, match=error):
            await to.tree(0, walk.tree())
    assert walk.closed


@pytest.mark.parametrize("asks", [[], [Packet(m.REQUEST)]])
async def test_a_receiver_that_says_nothing_more(
    every: Sessions, monkeypatch: pytest.MonkeyPatch, asks: list[Packet]
) -> None:
    """It has taken all, and does not end."""
    monkeypatch.setattr(patience, "_SILENCE", 0.3)
    walk = Scripted()
    async with asyncio.timeout(20), sink(every, send=receiver(*asks)) as to:
        with pytest.raises(Unavailable, match="nothing has come from the client for 300ms"):
            await to.tree(0, walk.tree())
    assert walk.closed


async def test_one_way_may_be_silent_while_the_other_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    begun = now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    with pytest.raises(Unavailable, match="nothing has come from the client for 5m0s"):
        async with patience.both_ways() as alive:
            for _ in range(5):
                now += 0.9 * patience._SILENCE
                await asyncio.sleep(0)  # what is due by now is done
                await asyncio.sleep(0)
                alive()
            now += 1.1 * patience._SILENCE
            await asyncio.Event().wait()
    assert now - begun > 5 * patience._SILENCE


async def test_a_receiver_that_ends_early(every: Sessions) -> None:
    async def take(call: Call) -> None:
        grpc.begin(call.stream)
        await call.receive()

    walk = Scripted()
    async with sink(every, send=take) as to:
        with pytest.raises(CortenError):
            await to.tree(0, walk.tree())
    assert walk.closed


def test_messages_are_bounded() -> None:
    with pytest.raises(Status):
        Asking().feed(b"\0" + (2 << 20).to_bytes(4, "big"))


# ------------------------------------------------------------------------------------------------------------- a store


BLOB = b"content" * 100_000
NAMED = Descriptor("", digests.of(BLOB), len(BLOB))


def reading(*parts: bytes) -> Function:
    async def read(call: Call) -> None:
        assert c.ReadRequest.decode(await call.request()).digest == NAMED.digest
        grpc.begin(call.stream)
        for part in parts:
            await call.send(c.ReadResponse(data=part).encode())

    return read


async def test_a_blob_is_read(every: Sessions) -> None:
    async with sink(every, read=reading(BLOB[:50_000], BLOB[50_000:])) as to:
        assert b"".join([piece async for piece in to.contents("s").read(NAMED)]) == BLOB


@pytest.mark.parametrize("parts", [[BLOB[:-1]], [BLOB, b"x"], []])
async def test_a_blob_of_another_size(every: Sessions, parts: list[bytes]) -> None:
    async with sink(every, read=reading(*parts)) as to:
        with pytest.raises(Corrupt):
            async for _ in to.contents("s").read(NAMED):
                pass


async def test_a_blob_that_is_not_there(every: Sessions) -> None:
    async def absent(call: Call) -> None:
        raise Status(grpc.NOT_FOUND, "no such blob")

    async with sink(every, read=absent, info=absent) as to:
        with pytest.raises(NotFound, match="no such blob"):
            await to.contents("s").size(NAMED.digest)
        with pytest.raises(NotFound):
            async for _ in to.contents("s").read(NAMED):
                pass


def writing(got: bytearray, refuse: Callable[[c.WriteRequest], Status | None]) -> Function:
    async def write(call: Call) -> None:
        grpc.begin(call.stream)
        while (message := await call.receive()) is not None:
            request = c.WriteRequest.decode(message)
            if (status := refuse(request)) is not None:
                raise status
            got.extend(request.data)
            await call.send(c.WriteResponse(request.action, len(got)).encode())
            if request.action == c.COMMIT:
                return

    return write


async def test_a_blob_is_written(every: Sessions) -> None:
    got = bytearray()
    async with sink(every, write=writing(got, lambda request: None)) as to:
        await to.contents("s").write(NAMED, pieces(BLOB[:7], BLOB[7:]))
    assert got == BLOB


async def test_a_blob_that_is_there_or_has_no_room(every: Sessions) -> None:
    got = bytearray()
    async with sink(every, write=writing(got, lambda request: Status(6, "it is there"))) as to:
        await to.contents("s").write(NAMED, pieces(BLOB))
    full = writing(got, lambda request: Status(8, "disk full") if request.offset else None)
    async with sink(every, write=full) as to:
        with pytest.raises(Failed, match="disk full"):
            await to.contents("s").write(NAMED, pieces(BLOB, BLOB))
