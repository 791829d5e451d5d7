"""A daemon's side of a session, against a client made of the same parts: files, secrets, credentials, an agent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from corten.build.trees import Trees
from corten.buildkit import arrivals, sessions
from corten.buildkit.client import SessionClient
from corten.buildkit.sessions import Sessions
from corten.errors import Conflict, CortenError, Failed, Invalid, Unavailable
from corten.http2 import grpc
from corten.http2.channel import over_socket
from corten.http2.connection import Connection
from corten.http2.grpc import Call, Function, Serving, Status
from corten.spec.protobuf import session as m
from corten.spec.protobuf.session import Packet, Stat

FILES = "/moby.filesync.v1.FileSync/DiffCopy"
TIME = 1_700_000_000_000_000_000


def headers(id: str, methods: Mapping[str, Function], key: str = "k") -> list[tuple[str, str]]:
    found = [("X-Docker-Expose-Session-Uuid", id), ("X-Docker-Expose-Session-Sharedkey", key)]
    return found + [("X-Docker-Expose-Session-Grpc-Method", name) for name in methods]


@asynccontextmanager
async def session(
    every: Sessions, id: str, functions: Mapping[str, Function], key: str = "k"
) -> AsyncIterator[asyncio.Task[None]]:
    """A client that serves `functions`."""
    ours, theirs = socket.socketpair()
    serving = Serving(functions)
    keeping = asyncio.create_task(every.serve(ours.detach(), b"", headers(id, functions, key)))
    channel = await over_socket(theirs.detach(), b"", Connection(client=False), serving.on_stream)
    try:
        yield keeping
    finally:
        channel.close()
        await serving.close()
        with suppress(CortenError):
            await keeping


@pytest.fixture
def every() -> Sessions:
    return Sessions()


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path / "trees")


def sending(*files: tuple[str, bytes]) -> Function:
    """Answers DiffCopy with these files, in their order."""

    async def diff_copy(call: Call) -> None:
        grpc.begin(call.stream)
        for name, content in files:
            await call.send(Packet(stat=Stat(name, 0o644, size=len(content), modified=TIME)).encode())
        await call.send(Packet().encode())
        while (message := await call.receive()) is not None:
            packet = Packet.decode(message)
            if packet.type == m.REQUEST:
                await call.send(Packet(m.DATA, id=packet.id, data=files[packet.id][1]).encode())
                await call.send(Packet(m.DATA, id=packet.id).encode())
            elif packet.type == m.FINISH:
                await call.send(Packet(m.FINISH).encode())
                return

    return diff_copy


async def test_files_and_a_tree(every: Sessions, trees: Trees) -> None:
    seen: list[Mapping[str, object]] = []
    answer = sending(("Dockerfile", b"FROM x"), ("a", b"A" * 100_000))

    async def diff_copy(call: Call) -> None:
        seen.append(call.metadata)
        await answer(call)

    async with session(every, "one", {FILES: diff_copy}):
        client = SessionClient(await every.find("name:one"), trees)
        assert await client.files("dockerfile", ["Dockerfile", "nope"]) == {"Dockerfile": b"FROM x"}
        counts: list[int] = []
        tree = await client.tree("context", ["a", "ü"], ["*.log"], counts.append)
        assert (tree.directory / "a").read_bytes() == b"A" * 100_000 and counts[-1] == 100_006
        again = await client.tree("context", [], [], counts.append)
        assert again.directory != tree.directory  # which this build still has
        await client.close()
        next_one = SessionClient(await every.find("one"), trees)
        assert (await next_one.tree("context", [], [], counts.append)).directory == tree.directory
        assert counts[-1] == 0
    assert seen[0]["dir-name"] == ["dockerfile"] and seen[0]["followpaths"] == ["Dockerfile", "nope"]
    assert seen[1]["followpaths"] == ["a", "%C3%BC"] and seen[1]["followpaths-encoded"] == ["1"]
    assert seen[1]["exclude-patterns"] == ["*.log"] and "exclude-patterns-encoded" not in seen[1]
    assert "followpaths" not in seen[2]


async def test_a_tree_without_a_shared_key_is_not_kept(every: Sessions, trees: Trees) -> None:
    async with session(every, "one", {FILES: sending(("a", b"A"))}, key=""):
        client = SessionClient(await every.find("one"), trees)
        tree = await client.tree("context", [], [], lambda count: None)
        assert (tree.directory / "a").exists()
        await client.close()
        assert not tree.directory.exists()


async def test_a_transfer_that_breaks_off_leaves_nothing_for_the_next(every: Sessions, trees: Trees) -> None:
    async def half(call: Call) -> None:
        grpc.begin(call.stream)
        await call.send(Packet(stat=Stat("a", 0o644, size=10, modified=TIME)).encode())
        await call.receive()
        await call.send(Packet(m.DATA, data=b"half").encode())
        raise Status(grpc.UNKNOWN, "a disk error")

    async with session(every, "one", {FILES: half}):
        client = SessionClient(await every.find("one"), trees)
        with pytest.raises(Failed, match="a disk error"):
            await client.tree("context", [], [], lambda count: None)
        await client.close()
    assert not list(trees.take("k\0context").iterdir())


async def test_a_client_that_says_nothing_is_given_up(
    every: Sessions, trees: Trees, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corten.build.patience._SILENCE", 0.05)

    async def silent(call: Call) -> None:
        await asyncio.Event().wait()

    async with session(every, "one", {FILES: silent}):
        client = SessionClient(await every.find("one"), trees)
        with pytest.raises(Unavailable, match="nothing has come from the client"):
            await client.files("context", ["x"])


async def test_a_session_that_ends_in_a_transfer(every: Sessions, trees: Trees) -> None:
    begun = asyncio.Event()

    async def silent(call: Call) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with session(every, "one", {FILES: silent}):
        client = SessionClient(await every.find("one"), trees)
        reading = asyncio.create_task(client.files("context", ["x"]))
        await begun.wait()
    with pytest.raises(Unavailable):
        await reading


async def test_secrets_and_credentials(every: Sessions, trees: Trees) -> None:
    async def get_secret(call: Call) -> bytes:
        if m.GetSecretRequest.decode(await call.request()).id != "s1":
            raise Status(grpc.NOT_FOUND, "secret: not found")
        return m.GetSecretResponse(b"content").encode()

    async def credentials(call: Call) -> bytes:
        host = m.CredentialsRequest.decode(await call.request()).host
        known = host == "https://index.docker.io/v1/"
        return m.CredentialsResponse(*(("ann", "word") if known else ())).encode()

    functions = {
        "/moby.buildkit.secrets.v1.Secrets/GetSecret": get_secret,
        "/moby.filesync.v1.Auth/Credentials": credentials,
    }
    async with session(every, "one", functions):
        client = SessionClient(await every.find("one"), trees)
        assert await client.secret("s1") == b"content" and await client.secret("s2") is None
        assert await client.credentials("docker.io") == ("ann", "word")
        assert await client.credentials("localhost:5000") is None
        assert await client.agent("default") is None  # it serves no such method
    async with session(every, "two", {}):
        client = SessionClient(await every.find("two"), trees)
        assert await client.secret("s1") is None and await client.credentials("docker.io") is None
        with pytest.raises(Invalid, match="no files to send"):
            await client.files("context", ["x"])


async def test_an_agent(every: Sessions, trees: Trees) -> None:
    async def check_agent(call: Call) -> bytes:
        if m.CheckAgentRequest.decode(await call.request()).id != "mine":
            raise Status(grpc.UNKNOWN, "unset ssh forward key")
        return b""

    async def forward(call: Call) -> None:
        assert call.metadata["buildkit.ssh.id"] == ["mine"]
        grpc.begin(call.stream)
        while (message := await call.receive()) is not None:
            await call.send(m.BytesMessage(m.BytesMessage.decode(message).data.upper()).encode())

    functions = {"/moby.sshforward.v1.SSH/CheckAgent": check_agent, "/moby.sshforward.v1.SSH/ForwardAgent": forward}
    async with session(every, "one", functions):
        client = SessionClient(await every.find("one"), trees)
        assert await client.agent("other") is None
        agent = await client.agent("mine")
        assert agent is not None
        step, ours = socket.socketpair()
        with step:
            step.setblocking(False)
            carrying = asyncio.create_task(agent.connect(ours.detach()))
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(step, b"sign")
            assert await loop.sock_recv(step, 100) == b"SIGN"
            step.shutdown(socket.SHUT_WR)
            assert await loop.sock_recv(step, 100) == b""
            await carrying


async def test_a_session_is_waited_for(every: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = asyncio.create_task(every.find("one"))
    await asyncio.sleep(0)
    async with session(every, "one", {}):
        assert (await finding).id == "one"
    monkeypatch.setattr(arrivals, "WAIT", 0.01)
    with pytest.raises(Unavailable, match="no active session for one"):
        await every.find("one")


async def test_two_sessions_of_one_id_and_ids_that_are_none(every: Sessions) -> None:
    async with session(every, "one", {}):
        await every.find("one")
        async with session(every, "one", {}) as second:
            with pytest.raises(Conflict):
                await second
        assert (await every.find("one")).channel.closed is False
    for wrong in ("", "a\nb", "x" * 201):
        with pytest.raises(Invalid):
            sessions.check([("X-Docker-Expose-Session-Uuid", wrong)])


async def test_a_client_that_does_not_answer_is_disconnected(every: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_EVERY", 0.01)
    monkeypatch.setattr(sessions, "_PATIENCE", 60.0)
    asked = 0

    async def health(call: Call) -> bytes:
        nonlocal asked
        asked += 1
        if asked < 3:
            monkeypatch.setattr(sessions, "_PATIENCE", 60.0 if asked < 2 else 0.02)  # for the next one
            return m.HealthCheckResponse(m.SERVING).encode()
        await asyncio.Event().wait()
        raise AssertionError

    async with session(every, "one", {"/grpc.health.v1.Health/Check": health}) as keeping:
        async with asyncio.timeout(60):
            await keeping
    assert asked == 4


async def test_nor_does_one_without_that_method_stay(every: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, and stopped, or its machine is gone."""
    monkeypatch.setattr(sessions, "_EVERY", 0.01)
    monkeypatch.setattr(sessions, "_PATIENCE", 0.02)
    ours, theirs = socket.socketpair()
    with theirs:
        async with asyncio.timeout(60):
            await every.serve(ours.detach(), b"", headers("one", {}))


async def test_a_client_that_says_it_has_no_such_method_is_there(
    every: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_EVERY", 0.001)
    really, asked, enough = sessions._healthy, 0, asyncio.Event()

    async def counted(session: sessions.Session) -> bool:
        nonlocal asked
        found = await really(session)
        asked += 1
        if asked == 4:
            enough.set()
        return found

    monkeypatch.setattr(sessions, "_healthy", counted)
    async with session(every, "one", {FILES: sending(("a", b"A"))}) as keeping:
        async with asyncio.timeout(60):
            await enough.wait()
        assert not keeping.done()
