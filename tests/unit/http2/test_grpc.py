"""gRPC over a real pair of sockets, both roles ours: calls, statuses, cancellation, and peers that do not read."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from contextlib import AsyncExitStack

import pytest

from corten.errors import Invalid, NotFound, Unavailable
from corten.http2 import frames as f
from corten.http2 import grpc
from corten.http2.channel import StreamReset, over_socket
from corten.http2.connection import Connection
from corten.http2.grpc import Call, Cut, Status, calling, framed, unary
from grpc_channels import connected


async def echo(call: Call) -> bytes:
    return b"<" + await call.request() + b">"


async def test_a_call_and_its_answer_of_any_size() -> None:
    async with connected({"/e": echo}) as client:
        for size in (0, 1, 5 << 20):
            assert await unary(client, "/e", b"x" * size) == b"<" + b"x" * size + b">"


async def test_metadata_keeps_the_order_of_values() -> None:
    async def seen(call: Call) -> bytes:
        return ",".join(call.metadata["followpaths"]).encode()

    async with connected({"/m": seen}) as client:
        assert await unary(client, "/m", b"", [("followpaths", "b"), ("followpaths", "a")]) == b"b,a"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (Status(grpc.NOT_FOUND, "no ü\n%"), grpc.NOT_FOUND, "no ü\n%"),
        (NotFound("gone"), grpc.NOT_FOUND, "gone"),
        (Invalid("wrong"), grpc.INVALID_ARGUMENT, "wrong"),
        (OSError(28, "no space"), grpc.UNKNOWN, "[Errno 28] no space"),
        (NotFound("no \udcff"), grpc.NOT_FOUND, "no ?"),  # of a name that is no UTF-8
    ],
)
async def test_errors_are_statuses(error: Exception, code: int, message: str) -> None:
    async def fails(call: Call) -> bytes:
        raise error

    async with connected({"/f": fails}) as client:
        with pytest.raises(Status) as raised:
            await unary(client, "/f", b"", seconds=10)
        assert (raised.value.code, str(raised.value)) == (code, message)


async def test_details_of_an_error_travel() -> None:
    async def fails(call: Call) -> bytes:
        raise Status(grpc.UNKNOWN, "x", bytes(range(256)))

    async with connected({"/f": fails}) as client:
        with pytest.raises(Status) as raised:
            await unary(client, "/f", b"")
        assert raised.value.details == bytes(range(256))


async def test_unknown_methods_are_unimplemented() -> None:
    async with connected({}) as client:
        with pytest.raises(Status) as raised:
            await unary(client, "/opentelemetry/Export", b"x")
        assert raised.value.code == grpc.UNIMPLEMENTED


async def test_a_stream_both_ways_and_a_slow_reader() -> None:
    async def doubled(call: Call) -> None:
        grpc.begin(call.stream)
        while (message := await call.receive()) is not None:
            await call.send(message * 2)

    async with connected({"/d": doubled}) as client, calling(client, "/d") as call:
        sending = asyncio.create_task(send_all(call, [bytes([n]) * 100_000 for n in range(50)]))
        await asyncio.sleep(0)
        for n in range(50):
            assert await call.receive() == bytes([n]) * 200_000
        assert await call.receive() is None
        grpc.finish(call.stream)
        await sending


async def send_all(call: Call, messages: list[bytes]) -> None:
    for message in messages:
        await call.send(message)
    await call.stream.write(b"", end=True)


async def test_a_stream_that_is_not_read_holds_up_no_other() -> None:
    async def pours(call: Call) -> None:
        grpc.begin(call.stream)
        while True:
            await call.send(bytes(100_000))

    async with connected({"/p": pours, "/e": echo}) as client, calling(client, "/p") as call:
        await call.stream.begun()
        assert await unary(client, "/e", b"x", seconds=10) == b"<x>"


async def test_a_call_that_is_left_is_cancelled_at_the_server() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def waits(call: Call) -> bytes:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with connected({"/w": waits}) as client:
        with pytest.raises(Status, match="no answer to /w in 50ms"):
            await unary(client, "/w", b"", seconds=0.05)
        async with asyncio.timeout(60):
            await cancelled.wait()


async def test_a_time_limit_of_the_client_is_kept() -> None:
    async def waits(call: Call) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    async with connected({"/w": waits}) as client:
        with pytest.raises(Status) as raised:
            await unary(client, "/w", b"", [("grpc-timeout", "10m")], seconds=10)
        assert raised.value.code == grpc.DEADLINE_EXCEEDED


async def test_the_end_of_the_connection_ends_calls_on_both_sides() -> None:
    ended = asyncio.Event()

    async def waits(call: Call) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with connected({"/w": waits}) as client:
        waiting = asyncio.create_task(unary(client, "/w", b""))
        await asyncio.sleep(0.05)
        client.close()
        with pytest.raises(Unavailable):
            await waiting
        with pytest.raises(Unavailable):
            client.open([])
        async with asyncio.timeout(60):
            await ended.wait()


async def test_a_peer_that_asks_and_never_reads_is_disconnected() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ended = asyncio.Event()
        await over_socket(theirs.detach(), b"", Connection(client=False), lambda stream: None, ended.set)
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        data = f.PREFACE + f.settings({})
        head = f.frame(f.HEADERS, f.END_HEADERS, 1, b"\x83\x86\x84")
        ping = f.frame(f.PING, 0, 0, bytes(8)) * 50 + f.frame(f.DATA, 0, 1, b"x") * 50

        async def flood() -> None:
            await loop.sock_sendall(ours, data + head)
            while True:
                await loop.sock_sendall(ours, ping)

        with pytest.raises(OSError):
            async with asyncio.timeout(30):
                await flood()
        async with asyncio.timeout(60):
            await ended.wait()


async def test_something_else_than_http2_is_disconnected() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ended = asyncio.Event()
        await over_socket(theirs.detach(), b"GET / HTTP/1.1\r\n\r\n", Connection(client=False), on_end=ended.set)
        async with asyncio.timeout(60):
            await ended.wait()


async def test_an_answer_that_goes_away_in_the_middle() -> None:
    async def half(call: Call) -> None:
        grpc.begin(call.stream)
        await call.send(b"one")
        call.stream.reset(f.INTERNAL_ERROR)

    async with connected({"/h": half}) as client, calling(client, "/h") as call:
        assert await call.receive() == b"one"
        with pytest.raises(StreamReset):
            await call.receive()


async def test_what_a_connection_keeps_of_messages_is_bounded() -> None:
    """Of all calls together: messages that are not whole, and requests that are worked on."""
    done = asyncio.Event()

    async def waits(call: Call) -> bytes:
        await call.request()
        await done.wait()
        return b"done"

    async def begin(call: Call, size: int, rest: int) -> Call:
        await call.stream.write(framed(bytes(size))[: -rest or None])
        return call

    async with connected({"/w": waits, "/e": echo}) as client, AsyncExitStack() as held:
        calls = [await held.enter_async_context(calling(client, "/w")) for _ in range(6)]
        for number, call in enumerate(calls[:5]):  # one of them to its end
            await begin(call, 15 << 20, number and 1)
        with pytest.raises(Status, match="more bytes of messages than a connection may have") as raised:
            async with asyncio.timeout(60):
                await calls[4].receive()
            grpc.finish(calls[4].stream)
        assert raised.value.code == grpc.RESOURCE_EXHAUSTED
        assert await unary(client, "/e", b"x") == b"<x>"
        for call in calls[1:3]:
            call.stream.reset()
        await begin(calls[5], 15 << 20, 0)
        done.set()
        assert await calls[0].receive() == await calls[5].receive() == b"done"
    assert client.budget.take(64 << 20)


@pytest.mark.parametrize("connection", [False, True])
@pytest.mark.parametrize("rest", [0, 1])
async def test_a_call_whose_client_leaves_keeps_nothing(connection: bool, rest: int) -> None:
    """Not even until the next collection of garbage, which counts objects and not their bytes."""
    begun: asyncio.Queue[weakref.ref[Call]] = asyncio.Queue()

    async def waits(call: Call) -> bytes:
        begun.put_nowait(weakref.ref(call))
        await call.request()
        await asyncio.Event().wait()
        raise AssertionError

    gc.disable()
    try:
        async with connected({"/w": waits}) as client:
            async with asyncio.timeout(60), calling(client, "/w") as asked:
                await asked.stream.write(framed(bytes(100))[: -rest or None])
                found = await begun.get()
                if connection:
                    client.close()
            async with asyncio.timeout(60):
                while found() is not None:
                    await asyncio.sleep(0.001)
    finally:
        gc.enable()


async def test_an_error_of_a_stream_that_is_raised_keeps_no_stream() -> None:
    async def fails(call: Call) -> None:
        call.stream.reset(f.INTERNAL_ERROR)

    async with connected({"/f": fails}) as client, calling(client, "/f") as call:
        with pytest.raises(StreamReset, match="reset with code 2"):
            await call.receive()
        assert call.stream.error is not None and call.stream.error.__traceback__ is None


def test_messages_are_cut_from_any_pieces() -> None:
    data = framed(b"") + framed(b"ab") + framed(b"c" * 300)
    for size in (1, 2, 7, 1000):
        cut = Cut()
        found = [message for at in range(0, len(data), size) for message in cut.feed(data[at : at + size])]
        assert found == [b"", b"ab", b"c" * 300]
    for wrong in (b"\x01\0\0\0\0", b"\0\xff\xff\xff\xff"):
        with pytest.raises(Status):
            Cut().feed(wrong)
