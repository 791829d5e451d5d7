"""Downloads that fail, are given up, or meet one another."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from types import ModuleType

import pytest
from aiohttp import web

from corten.errors import Exhausted, Failed, NotFound
from corten.registry.client.registry import Registry
from corten.registry.client.slots import Slots
from corten.spec.oci_image import OCI_LAYER, Descriptor
from corten.spec.reference import parse
from corten.store import blobs as blob_store
from corten.store.blobs import Blobs, Ingest
from image_parts.asking import DATA
from image_parts.registries import Scripted
from image_parts.stores import digest

BLOB = Descriptor(OCI_LAYER, digest(DATA), len(DATA))


def download(client: Registry, server: Scripted) -> asyncio.Task[None]:
    repository = client.repository(parse(f"{server.host}/a/b:1"), None)
    return asyncio.create_task(client.blob(repository, BLOB))


async def test_one_download_of_a_blob_at_a_time_whatever_becomes_of_the_others(
    client: Registry, server: Scripted
) -> None:
    arrived: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def before(request: web.Request) -> web.StreamResponse | None:
        go = asyncio.Event()
        arrived.put_nowait(go)
        await go.wait()
        return web.Response(status=404)

    server.before = before
    first = download(client, server)
    go = await arrived.get()
    second = download(client, server)
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(NotFound):
        await first
    go = await arrived.get()  # the second's request
    third = download(client, server)
    with pytest.raises(TimeoutError):  # anything that would come, comes at once
        await asyncio.wait_for(arrived.get(), 0.3)
    go.set()
    with pytest.raises(NotFound):
        await second
    (await arrived.get()).set()
    with pytest.raises(NotFound):
        await third


async def test_a_waiter_that_is_cancelled_in_the_moment_in_which_a_slot_becomes_free() -> None:
    slots = Slots(1)
    entered = asyncio.Event()

    async def wait() -> None:
        async with slots:
            entered.set()

    async with slots:
        given_up, patient = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        given_up.cancel()  # it has not run yet when the slot is handed on
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await asyncio.wait_for(patient, 60)
    assert entered.is_set()
    assert not slots.full()


async def test_a_download_that_is_given_up_as_it_begins_leaves_nothing_open(
    client: Registry, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, done = (threading.Event() for _ in range(3))
    ingest = Blobs.ingest

    def slow(blobs: Blobs, digest: str | None = None) -> Ingest:
        begun.set()
        go.wait(60)
        try:
            return ingest(blobs, digest)
        finally:
            done.set()

    monkeypatch.setattr(Blobs, "ingest", slow)
    task = download(client, server)
    await asyncio.to_thread(begun.wait, 60)
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(done.wait, 60)
    assert not client._blobs.in_use
    await download(client, server)
    assert client._blobs.has(BLOB.digest)


@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, Failed), (errno.ENOSPC, Exhausted)])
async def test_errors_of_our_own_disk_are_reported_at_once_and_as_ours(
    client: Registry, server: Scripted, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def fail(fd: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    repository = client.repository(parse(f"{server.host}/a/b:1"), None)
    monkeypatch.setattr(blob_store, "os", _Broken(os, write=fail))
    with pytest.raises(kind, match=BLOB.digest.replace(":", "-")):
        await client.blob(repository, BLOB)
    assert len(server.requests) == 1


class _Broken:
    """A module of which some functions are others."""

    def __init__(self, module: ModuleType, **others: object) -> None:
        self.__dict__ |= {**vars(module), **others}
