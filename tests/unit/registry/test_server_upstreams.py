"""Pull-through: once, verified, while it comes, without the upstream, and anew when a tag has moved."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from corten.registry.server.access import Access
from corten.registry.server.app import Registry
from corten.registry.server.collect import Collector, Policy
from corten.registry.server.htpasswd import Accounts
from corten.registry.server.quotas import Quota
from corten.registry.server.store import Store
from corten.registry.server.tokens import Tokens
from corten.registry.server.upstreams import Upstream
from image_parts.registries import Scripted, scripted
from image_parts.stores import Made
from registry_parts.ageing import age
from registry_parts.own import ANN, SECRET, Own, digest, served

BIG = random.Random(0).randbytes(5_000_000)


@asynccontextmanager
async def caching(root: Path, *upstreams: Upstream, quotas: tuple[Quota, ...] = ()) -> AsyncIterator[Own]:
    store = Store(root)
    try:
        async with served(Registry(store, Access(), upstreams, quotas)) as own:
            yield own
    finally:
        store.close()


def upstream(registry: Scripted, revalidate: float = 0) -> Upstream:
    return Upstream("hub", f"http://{registry.host}", revalidate=revalidate)


def asked(registry: Scripted, word: str, method: str = "GET") -> int:
    return sum(word in request.path and request.method == method for request in registry.requests)


async def test_what_was_pulled_is_kept(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(scripted())
        image = Made([b"tar"])
        named = registry.add("1", image)
        own = await stack.enter_async_context(caching(tmp_path, upstream(registry)))
        answer = await own.ask("GET", "/v2/hub/a/manifests/1")
        assert answer.body == image.manifest and answer.headers["Docker-Content-Digest"] == named
        for each in image.blobs:
            assert (await own.ask("HEAD", f"/v2/hub/a/blobs/{each}")).headers["Content-Length"]
            assert (await own.ask("GET", f"/v2/hub/a/blobs/{each}")).body == image.blobs[each]
            assert (await own.ask("GET", f"/v2/hub/a/blobs/{each}")).body == image.blobs[each]
            assert asked(registry, each) == 1
        assert (await own.ask("GET", f"/v2/hub/a/manifests/{named}")).status == 200
        assert asked(registry, "manifests") == 1
        assert (await own.ask("GET", "/v2/hub/a/manifests/2")).code == "MANIFEST_UNKNOWN"
        assert (await own.ask("GET", f"/v2/hub/a/blobs/{digest(b'nothing')}")).code == "BLOB_UNKNOWN"
        assert (await own.ask("GET", f"/v2/else/blobs/{digest(b'nothing')}")).status == 404
        assert (await own.ask("POST", "/v2/hub/a/blobs/uploads/")).status == 405
        assert (await own.ask("PUT", "/v2/hub/a/manifests/2", b"{}")).status == 405
        registry.before = gone
        assert (await own.ask("GET", "/v2/hub/a/tags/list")).json["tags"] == ["1"]


async def gone(request: web.Request) -> web.Response:
    return web.Response(status=503)


async def test_without_the_upstream(tmp_path: Path) -> None:
    async with scripted() as registry:
        image = Made([b"tar"])
        registry.add("1", image)
        source = upstream(registry)
        async with caching(tmp_path, source) as own:
            await pull(own, image)
    async with caching(tmp_path, source) as own:  # nothing listens there any more
        await pull(own, image)
        answer = await own.ask("GET", "/v2/hub/a/manifests/2")
        assert (answer.status, answer.code) == (503, "UNAVAILABLE")
        assert "cache_stale_total 1" in (await own.ask("GET", "/metrics")).body.decode()


async def pull(own: Own, image: Made, reference: str = "1") -> None:
    assert (await own.ask("GET", f"/v2/hub/a/manifests/{reference}")).body == image.manifest
    for each in image.blobs:
        assert (await own.ask("GET", f"/v2/hub/a/blobs/{each}")).body == image.blobs[each]


async def test_tags_are_asked_for_again(tmp_path: Path) -> None:
    async with scripted() as registry, caching(tmp_path, upstream(registry)) as own:
        first, second = Made([b"one"]), Made([b"two"])
        registry.add("1", first)
        await pull(own, first)
        await pull(own, first)
        assert (asked(registry, "manifests", "GET"), asked(registry, "manifests", "HEAD")) == (1, 1)
        registry.add("1", second)
        await pull(own, second)
        await pull(own, first, digest(first.manifest))  # still known by its digest
        del registry.manifests["1"]
        assert (await own.ask("GET", "/v2/hub/a/manifests/1")).status == 404
        registry.before = gone
        assert (await own.ask("GET", "/v2/hub/a/manifests/1")).status == 503  # and it is not brought back
        await pull(own, second, digest(second.manifest))


async def test_a_tag_that_was_checked_lately_is_not_asked_for(tmp_path: Path) -> None:
    async with scripted() as registry, caching(tmp_path, upstream(registry, revalidate=3600)) as own:
        registry.add("1", Made([b"tar"]))
        for _ in range(3):
            assert (await own.ask("GET", "/v2/hub/a/manifests/1")).status == 200
        assert len(registry.requests) == 1


class Slow:
    """Sends half of each blob, then waits until it may go on."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        self.go_on = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        if "/blobs/" not in request.path:
            return None
        response = web.StreamResponse(headers={"Content-Length": str(len(self.blob))})
        await response.prepare(request)
        await response.write(self.blob[: len(self.blob) // 2])
        await self.go_on.wait()
        await response.write(self.blob[len(self.blob) // 2 :])
        return response


async def test_many_ask_and_it_is_fetched_once_and_sent_while_it_comes(tmp_path: Path) -> None:
    async with scripted() as registry, caching(tmp_path, upstream(registry)) as own:
        image = Made([BIG])
        registry.add("1", image)
        await own.ask("GET", "/v2/hub/a/manifests/1")
        layer = next(each for each, data in image.blobs.items() if len(data) > len(BIG))
        registry.before = slow = Slow(image.blobs[layer])

        async def read() -> bytes:
            async with own.session.get(f"{own.url}/v2/hub/a/blobs/{layer}") as response:
                assert int(response.headers["Content-Length"]) == len(image.blobs[layer])
                begun = await response.content.readexactly(1 << 20)
                started.append(1)
                if len(started) == 5:
                    slow.go_on.set()  # all of them have some of it by now
                return begun + await response.content.read()

        started: list[int] = []
        leaving = asyncio.create_task(read())
        others = [asyncio.create_task(read()) for _ in range(4)]
        for found in await asyncio.gather(leaving, *others):
            assert found == image.blobs[layer]
        assert asked(registry, layer) == 1
        registry.before = gone
        assert (await own.ask("GET", f"/v2/hub/a/blobs/{layer}")).body == image.blobs[layer]
        answer = await own.ask("GET", f"/v2/hub/a/blobs/{layer}", Range="bytes=5-9")
        assert (answer.status, answer.body) == (206, image.blobs[layer][5:10])


async def test_a_blob_that_is_not_what_it_claims(tmp_path: Path) -> None:
    async with scripted() as registry, caching(tmp_path, upstream(registry)) as own:
        image = Made([BIG])
        registry.add("1", image)
        await own.ask("GET", "/v2/hub/a/manifests/1")
        layer = next(each for each, data in image.blobs.items() if len(data) > len(BIG))
        good = registry.blobs[layer]
        registry.blobs[layer] = good[:-1] + bytes([good[-1] ^ 1])
        with pytest.raises(aiohttp.ClientError):
            await own.ask("GET", f"/v2/hub/a/blobs/{layer}")
        assert (await own.ask("GET", f"/v2/hub/a/blobs/{layer}", Range="bytes=0-9")).status >= 400
        assert not (tmp_path / "blobs/sha256" / layer.partition(":")[2]).exists()
        registry.blobs[layer] = good
        assert (await own.ask("GET", f"/v2/hub/a/blobs/{layer}")).body == good


async def test_a_manifest_that_is_not_what_it_claims(tmp_path: Path) -> None:
    async with scripted() as registry, caching(tmp_path, upstream(registry)) as own:
        image = Made([b"tar"])
        named = registry.add("1", image)
        registry.manifests[named] = (registry.manifests[named][0], image.manifest + b" ")
        assert (await own.ask("GET", f"/v2/hub/a/manifests/{named}")).status == 503
        assert (await own.ask("GET", "/v2/hub/a/manifests/1")).status == 200


async def test_credentials_and_rights(tmp_path: Path) -> None:
    """From one of our own registries to another, by token."""
    store = Store(tmp_path / "source")
    access = Access(Accounts(f"ann:{SECRET}"), None, Tokens(b"k" * 32))
    async with served(Registry(store, access)) as source:
        await source.push_image("team/a", "1", b"layer", as_=ANN)
        good = Upstream("in", source.url + "/team", "ann", "secret")
        bad = Upstream("out", source.url, "ann", "wrong")
        async with caching(tmp_path / "cache", good, bad) as own:
            assert (await own.ask("GET", "/v2/in/a/manifests/1")).status == 200
            assert (await own.ask("GET", f"/v2/in/a/blobs/{digest(b'layer')}")).body == b"layer"
            assert (await own.ask("GET", "/v2/in/a/tags/list")).json["tags"] == ["1"]
            answer = await own.ask("GET", "/v2/out/team/a/manifests/1")
            assert (answer.status, answer.code) == (403, "DENIED")
            assert "the upstream refuses" in answer.json["errors"][0]["message"]
    store.close()


async def test_a_cache_has_quotas_and_collections(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(scripted())
        image = Made([BIG])
        registry.add("1", image)
        own = await stack.enter_async_context(caching(tmp_path, upstream(registry), quotas=(Quota("hub", 100_000),)))
        await own.ask("GET", "/v2/hub/a/manifests/1")
        layer = next(each for each, data in image.blobs.items() if len(data) > len(BIG))
        answer = await own.ask("GET", f"/v2/hub/a/blobs/{layer}")
        assert (answer.status, answer.code) == (403, "DENIED")
        store = Store(tmp_path)
        age(tmp_path)
        assert list(Collector(store, Policy()).run()) == []
        await own.ask("DELETE", "/v2/hub/a/manifests/1")
        age(tmp_path)
        assert [each.kind for each in Collector(store, Policy(untagged=60)).run()] == ["manifest", "blob"]
        store.close()
        assert (await own.ask("GET", "/v2/hub/a/manifests/1")).status == 200  # from the upstream again


async def test_downloads_have_their_room_before_they_come(tmp_path: Path) -> None:
    async with scripted() as registry, caching(tmp_path, upstream(registry), quotas=(Quota("hub", 8_000_000),)) as own:
        images = [Made([BIG]), Made([BIG[::-1]])]
        layers = [next(each for each, data in image.blobs.items() if len(data) > len(BIG)) for image in images]
        for tag, image in enumerate(images):
            registry.add(str(tag), image)
            await own.ask("GET", f"/v2/hub/a/manifests/{tag}")
        registry.before = slow = Slow(images[0].blobs[layers[0]])
        async with own.session.get(f"{own.url}/v2/hub/a/blobs/{layers[0]}") as response:
            begun = await response.content.readexactly(1 << 20)
            answer = await own.ask("GET", f"/v2/hub/a/blobs/{layers[1]}")
            assert (answer.status, answer.code) == (403, "DENIED")
            slow.go_on.set()
            assert begun + await response.content.read() == images[0].blobs[layers[0]]
        lines = (await own.ask("GET", "/metrics")).body.decode().splitlines()
        used = next(float(line.split()[1]) for line in lines if line.startswith("corten_registry_quota_used_bytes"))
        assert used == sum(path.stat().st_size for path in (tmp_path / "blobs/sha256").iterdir())
