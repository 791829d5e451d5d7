"""Large events and many clients: what they cost together."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from aiohttp import web

from corten.api import events
from corten.api.call import encode_line
from corten.spec.json import Json

EVENT: Json = {"Type": "container", "Actor": {"ID": "x", "Attributes": {"label": "y" * (1 << 20)}}}
AFTER: Json = {"Type": "container", "Actor": {"ID": "y", "Attributes": {}}}


class Client:
    """An answer whose client reads once `reads` is set."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.parts: list[bytes] = []

    async def write(self, data: bytes) -> None:
        self.parts.append(data)
        await self.reads.wait()


def sending(client: Client, event: Json) -> asyncio.Task[None]:
    return asyncio.create_task(events.send(cast(web.StreamResponse, client), event))


async def test_clients_that_do_not_read_keep_a_part_of_a_large_event_each(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[object] = []

    def counted(event: object) -> bytes:
        encoded.append(event)
        return encode_line(event)

    monkeypatch.setattr(events, "encode_line", counted)
    clients = [Client() for _ in range(5)]
    tasks = [sending(client, EVENT) for client in clients[:3]]
    await asyncio.sleep(0)
    await events.send(cast(web.StreamResponse, Quick()), AFTER)  # one that is not behind
    tasks += [sending(client, EVENT) for client in clients[3:]]
    await asyncio.sleep(0)
    assert all(len(client.parts) == 1 and len(client.parts[0]) <= 1 << 16 for client in clients)
    assert encoded == [EVENT, AFTER]
    for client in clients:
        client.reads.set()
    await asyncio.gather(*tasks)
    assert all(b"".join(client.parts) == encode_line(EVENT) for client in clients)


class Quick:
    async def write(self, data: bytes) -> None:
        assert data == encode_line(AFTER)
