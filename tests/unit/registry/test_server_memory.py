"""What clients that send slowly, or never to the end, make the registry keep in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from corten.registry.server import manifest_requests
from corten.registry.server.access import Access
from corten.registry.server.app import Registry
from corten.registry.server.htpasswd import Accounts
from corten.registry.server.rights import Rights, rule
from corten.registry.server.store import Store
from corten.registry.server.tokens import Tokens
from corten.spec.oci_image import MAX_MANIFEST, OCI_MANIFEST
from registry_parts.own import ANN, BOB, SECRET, Own, served

BODY = b'{"schemaVersion":2,"mediaType":"%s","layers":[]}' % OCI_MANIFEST.encode()
FORM = "application/x-www-form-urlencoded"
RULES = [rule("ann,bob:**:read,write")]
MB = 1 << 20


@pytest.fixture
async def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Own]:
    monkeypatch.setattr(manifest_requests, "_COMING", 3 * MB)
    store = Store(tmp_path)
    users = f"ann:{SECRET}\nbob:{SECRET}\n"
    async with served(Registry(store, Access(Accounts(users), Rights(RULES), Tokens(b"k" * 32)))) as own:
        yield own
    store.close()


@asynccontextmanager
async def half(own: Own, as_: Mapping[str, str], size: int) -> AsyncIterator[None]:
    """A manifest of which `size` bytes have come, and no more do."""
    host, port = own.host.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = [f"PUT /v2/a/manifests/half HTTP/1.1\r\nHost: {own.host}\r\nContent-Length: {MAX_MANIFEST}"]
    head += [f"{name}: {value}" for name, value in {**as_, "Content-Type": OCI_MANIFEST}.items()]
    writer.write("\r\n".join([*head, "", ""]).encode() + bytes(size))
    await writer.drain()
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def until(own: Own, as_: Mapping[str, str], body: bytes, status: int) -> None:
    """That is the answer to a manifest: what other connections have sent and ended is seen a moment later."""
    async with asyncio.timeout(60):
        while (
            answer := await own.ask("PUT", "/v2/a/manifests/1", body, as_, Content_Type=OCI_MANIFEST)
        ).status != status:
            await asyncio.sleep(0.01)
    assert status != 429 or answer.code == "TOOMANYREQUESTS"


async def test_manifests_that_do_not_end(own: Own) -> None:
    """So many bytes are kept for each account, however many connections it has; others push on."""
    large = BODY + b" " * MB
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(half(own, ANN, MB - 5000))
        await until(own, ANN, large, 429)
        await until(own, ANN, BODY, 201)
        await until(own, BOB, large, 201)
    await until(own, ANN, large, 201)


async def test_forms_of_those_without_an_account(own: Own) -> None:
    for size, status in ((60_000, 400), (1 << 18, 413)):
        answer = await own.ask("POST", "/token", b"a=" + b"b" * size, Content_Type=FORM)
        assert (answer.status, size) == (status, size)


async def test_heads_of_those_without_an_account(own: Own) -> None:
    host, port = own.host.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v2/ HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 8000) for n in range(9)))
    async with asyncio.timeout(60):
        assert (await reader.read(12)) == b"HTTP/1.0 431"
    writer.close()
