"""The registry and what befalls it: kill -9 while images come, and a disk without a free byte."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from corten.registry.server.access import Access
from corten.registry.server.app import Registry
from corten.registry.server.store import Store
from image_parts.disks import small_disk
from registry_parts.own import Own, digest, own_process, served

ROUNDS = 3


async def push(own: Own, number: int, acknowledged: dict[str, bytes]) -> None:
    """Images, one after the other, until the registry has exited."""
    dice, count = random.Random(number), 0
    try:
        while True:
            layers = [dice.randbytes(300_000), b"shared by all"]
            name = f"w{number}/r{count}"
            acknowledged[name] = await own.push_image(name, "1", *layers)
            count += 1
    except (aiohttp.ClientError, OSError):
        return


async def whole(own: Own, name: str, body: bytes) -> None:
    answer = await own.ask("GET", f"/v2/{name}/manifests/1")
    assert answer.body == body, (name, answer)
    for each in (answer.json["config"], *answer.json["layers"]):
        assert digest((await own.ask("GET", f"/v2/{name}/blobs/{each['digest']}")).body) == each["digest"], name


async def test_what_was_acknowledged_outlives_kill_9(tmp_path: Path) -> None:
    acknowledged: dict[str, bytes] = {}
    for round in range(ROUNDS + 1):
        with own_process("--root", str(tmp_path)) as (host, pid):
            async with aiohttp.ClientSession(auto_decompress=False) as session:
                own = Own(session, f"http://{host}")
                for name in sorted(acknowledged):
                    await whole(own, name, acknowledged[name])
                before = len(acknowledged)
                if round == ROUNDS:
                    break
                pushing = [asyncio.create_task(push(own, 10 * round + each, acknowledged)) for each in range(3)]
                while len(acknowledged) < before + 3:
                    await asyncio.sleep(0.01)
                os.kill(pid, signal.SIGKILL)
                await asyncio.gather(*pushing)
    for path in (tmp_path / "blobs" / "sha256").iterdir():
        assert digest(path.read_bytes()) == f"sha256:{path.name}"


async def test_a_quota_outlives_kill_9(tmp_path: Path) -> None:
    """In the middle of an upload whose length was not said."""
    config, uploads = tmp_path / "c.toml", tmp_path / "s" / "uploads"
    config.write_text('root = "s"\nlisten = "127.0.0.1:0"\n[[quota]]\nprefix = "team"\nbytes = "8MB"\n')
    place = ""

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 5_000_000
        while there() < 4_000_000:  # the rest waits for more
            await asyncio.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    def there() -> int:
        return sum(path.stat().st_size for path in uploads.iterdir() if not path.suffix)

    for killed in (True, False):
        with own_process("--config", str(config)) as (host, pid):
            async with aiohttp.ClientSession(auto_decompress=False) as session:
                own = Own(session, f"http://{host}")
                if killed:
                    place = (await own.ask("POST", "/v2/team/a/blobs/uploads/")).headers["Location"]
                    with pytest.raises((aiohttp.ClientError, OSError)):
                        await session.patch(own.url + place, data=body())
                    continue
                answer = await own.push_blob("team/b", b"y" * 4_500_000)
                assert (answer.status, answer.code) == (403, "DENIED")
                assert f"{there()} of 8388608 bytes" in answer.json["errors"][0]["message"]
                assert (await own.ask("GET", place)).headers["Range"] == f"0-{there() - 1}"
                assert (await own.ask("DELETE", place)).status == 204
                assert (await own.push_blob("team/b", b"y" * 4_000_000)).status == 201


async def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "d", 4):
        store = Store(tmp_path / "d")
        async with served(Registry(store, Access())) as own:
            first = await own.push_image("a", "1", random.Random(1).randbytes(2_000_000))
            too_large = random.Random(2).randbytes(3_000_000)
            answer = await own.push_blob("a", too_large)
            assert (answer.status, answer.code) == (507, "DENIED") and "no space left" in answer.body.decode()
            place = (await own.ask("POST", "/v2/a/blobs/uploads/")).headers["Location"]
            answer = await own.ask("PATCH", place, too_large)
            assert answer.status == 507
            assert (await own.ask("DELETE", place)).status == 204  # an upload in chunks could have been gone on with
            assert not list((tmp_path / "d/uploads").iterdir())
            await whole(own, "a", first)
            with (tmp_path / "d/filling").open("wb", buffering=0) as file:
                try:
                    while file.write(bytes(1024)):
                        pass
                except OSError:
                    pass
            assert (await own.ask("GET", "/healthz")).status == 503
            assert (await own.push("a", "2", first)).status == 507
            await whole(own, "a", first)
            assert (await own.ask("DELETE", f"/v2/a/manifests/{digest(first)}")).status == 202
            (tmp_path / "d/filling").unlink()
            assert (await own.ask("GET", "/healthz")).status == 200
            await own.push_image("a", "2", random.Random(3).randbytes(500_000))
        store.close()
