"""Notifications, metrics, health."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from corten.registry.server.access import Access
from corten.registry.server.app import Registry
from corten.registry.server.htpasswd import Accounts
from corten.registry.server.store import Store
from corten.registry.server.webhooks import MEDIA_TYPE, Webhook
from registry_parts.own import ANN, SECRET, Own, digest, served


@dataclass
class Receiver:
    """Refuses the first `refuse` requests; then takes each, once it is `open`."""

    refuse: int = 0
    seen: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    requests: int = 0
    open: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answer(self, request: web.Request) -> web.Response:
        async with self.changed:
            self.requests += 1
            self.changed.notify_all()
        await self.open.wait()
        if self.requests <= self.refuse:
            return web.Response(status=503)
        async with self.changed:
            self.seen.append((dict(request.headers), await request.json()))
            self.changed.notify_all()
        return web.Response()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for _, body in self.seen for event in body["events"]]

    async def until(self, count: int) -> list[dict[str, Any]]:
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(lambda: len(self.seen) >= count), 30)
        return self.events


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/hook", receiver.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def registry(root: Path, *hooks: Webhook) -> AsyncIterator[Own]:
    store = Store(root)
    access = Access(Accounts(f"ann:{SECRET}"))
    async with served(Registry(store, access, webhooks=hooks)) as own:
        yield own
    store.close()


async def test_the_envelope(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.open.set()
    async with (
        receiving(receiver) as url,
        registry(tmp_path, Webhook(url, headers={"Authorization": "Bearer x"})) as own,
    ):
        body = await own.push_image("a/b", "1", b"layer", as_=ANN)
        await own.ask("GET", "/v2/a/b/manifests/1", as_=ANN)
        await own.ask("HEAD", "/v2/a/b/manifests/1", as_=ANN)  # nothing was pulled
        await own.ask("GET", f"/v2/a/b/manifests/{digest(body)}", as_=ANN)
        await own.ask("DELETE", f"/v2/a/b/manifests/{digest(body)}", as_=ANN)
        events = await receiver.until(4)
    headers = receiver.seen[0][0]
    assert (headers["Content-Type"], headers["Authorization"]) == (MEDIA_TYPE, "Bearer x")
    assert [event["action"] for event in events] == ["push", "pull", "pull", "delete"]
    assert [event["target"].get("tag") for event in events] == ["1", "1", None, None]
    push = events[0]
    assert push["target"] == {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(body),
        "size": len(body),
        "length": len(body),
        "repository": "a/b",
        "url": f"{own.url}/v2/a/b/manifests/{digest(body)}",
        "tag": "1",
    }
    assert push["actor"] == {"name": "ann"} and push["request"]["method"] == "PUT"
    assert push["id"] != events[1]["id"] and push["source"]["instanceID"] and push["timestamp"].endswith("Z")


async def test_blobs_when_asked_for_and_only_some_actions(tmp_path: Path) -> None:
    all_of_it, pushes = Receiver(), Receiver()
    for each in (all_of_it, pushes):
        each.open.set()
    async with (
        receiving(all_of_it) as one,
        receiving(pushes) as two,
        registry(tmp_path, Webhook(one, blobs=True), Webhook(two, actions=("push",))) as own,
    ):
        await own.push_image("a", "1", b"layer", as_=ANN)
        await own.ask("GET", f"/v2/a/blobs/{digest(b'layer')}", as_=ANN)
        await own.ask("POST", f"/v2/b/blobs/uploads/?mount={digest(b'layer')}&from=a", as_=ANN)
        events = await all_of_it.until(5)
        assert [event["action"] for event in events] == ["push", "push", "push", "pull", "mount"]
        assert [event["action"] for event in await pushes.until(1)] == ["push"]


async def test_it_tries_again(tmp_path: Path) -> None:
    receiver = Receiver(refuse=3)
    receiver.open.set()
    async with receiving(receiver) as url, registry(tmp_path, Webhook(url, pause=0.01)) as own:
        await own.push_image("a", "1", b"layer", as_=ANN)
        await receiver.until(1)
        text = (await own.ask("GET", "/metrics", as_=ANN)).body.decode()
    assert receiver.requests == 4
    assert f'corten_registry_webhook_failed_total{{receiver="{url.split("/")[2]}"}} 3' in text


async def test_a_receiver_that_is_slow_or_absent_delays_no_request(tmp_path: Path) -> None:
    receiver = Receiver()
    hooks = Webhook("http://127.0.0.1:1/", pause=0.01, attempts=2), Webhook("", waiting=2, pause=0.01)
    async with receiving(receiver) as url, registry(tmp_path, hooks[0], Webhook(url, waiting=2, pause=0.01)) as own:
        for tag in "1234":
            await own.push_image("a", tag, tag.encode(), as_=ANN)
            async with receiver.changed:
                await asyncio.wait_for(receiver.changed.wait_for(lambda: receiver.requests), 30)
        receiver.open.set()
        events = await receiver.until(3)  # the first was on its way; of the others the last two waited
        assert [event["target"]["tag"] for event in events] == ["1", "3", "4"]
        text = (await own.ask("GET", "/metrics", as_=ANN)).body.decode()
        assert f'corten_registry_webhook_dropped_total{{receiver="{url.split("/")[2]}"}} 1' in text


async def test_metrics_and_health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with registry(tmp_path) as own:
        assert (await own.ask("GET", "/metrics")).status == 401
        assert json.loads((await own.ask("GET", "/healthz")).body) == {"status": "ok"}
        await own.push_blob("a", b"12345", ANN)
        await own.ask("GET", "/v2/a/manifests/1", as_=ANN)
        answer = await own.ask("GET", "/metrics", as_=ANN)
        lines = answer.body.decode().splitlines()
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        for line in (
            'corten_registry_requests_total{method="GET",kind="manifest",status="404"} 1',
            'corten_registry_requests_total{method="POST",kind="uploads",status="201"} 1',
            'corten_registry_request_seconds_bucket{method="GET",kind="manifest",le="+Inf"} 1',
            'corten_registry_request_seconds_count{method="GET",kind="manifest"} 1',
            "corten_registry_received_bytes_total 5",
            "corten_registry_uploads_open 0",
            "# TYPE corten_registry_request_seconds histogram",
        ):
            assert line in lines, (line, lines)
        (tmp_path / "uploads").rename(tmp_path / "gone")
        answer = await own.ask("GET", "/healthz")
        assert (answer.status, answer.json) == (503, {"status": "failing"})
        (tmp_path / "gone").rename(tmp_path / "uploads")
        assert (await own.ask("GET", "/healthz")).status == 200
