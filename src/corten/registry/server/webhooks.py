"""Notifications: what was pushed, pulled and deleted, as JSON by POST, in the envelope of the distribution project
("Notifications", events v2). Each receiver has a bounded queue and is retried with growing pauses; the registry
waits for none of them."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import socket
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiohttp

from corten.registry.client.lookups import connector
from corten.registry.server.asked import Asked
from corten.registry.server.metrics import Metrics
from corten.spec.json import Json

_log = logging.getLogger(__name__)
MEDIA_TYPE = "application/vnd.docker.distribution.events.v2+json"
ACTIONS = ("push", "pull", "delete", "mount")
_BLOB = "application/octet-stream"
_LONGEST = 60.0
_PATIENCE = 2.0  # seconds for what is left when the registry ends


@dataclass(frozen=True, slots=True)
class Webhook:
    """`timeout` and `pause` (the first one; it doubles) in seconds; `waiting` is how many notifications may wait, of
    which the oldest go when there are more."""

    url: str
    actions: tuple[str, ...] = ACTIONS
    blobs: bool = False  # of blobs too, and not of manifests only
    headers: dict[str, str] = field(default_factory=dict)
    timeout: float = 10.0
    attempts: int = 10
    pause: float = 1.0
    waiting: int = 1000

    @property
    def place(self) -> str:
        """For logs and metrics: a URL's path and query may be secrets."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Target:
    digest: str
    media_type: str = _BLOB
    size: int | None = None
    tag: str = ""


class Webhooks:
    """`start` and `close` inside the event loop."""

    def __init__(self, hooks: tuple[Webhook, ...], metrics: Metrics) -> None:
        self._receivers = [_Receiver(hook, metrics) for hook in hooks]
        self._source = {"addr": socket.gethostname(), "instanceID": secrets.token_hex(16)}
        metrics.gauge("webhook_waiting", lambda: [((("receiver", r.hook.place),), len(r)) for r in self._receivers])

    async def start(self) -> None:
        for receiver in self._receivers:
            receiver.start()

    async def close(self) -> None:
        await asyncio.gather(*(receiver.close() for receiver in self._receivers))

    def notify(self, asked: Asked, action: str, target: Target) -> None:
        """Queue a notification. Returns at once."""
        wanting = [each for each in self._receivers if each.wants(action, target)]
        if wanting:
            event = self._event(asked, action, target)
            for receiver in wanting:
                receiver.put(event)

    def _event(self, asked: Asked, action: str, target: Target) -> Json:
        request = asked.request
        kind = "blobs" if target.media_type == _BLOB else "manifests"
        shown: Json = {
            "mediaType": target.media_type,
            "digest": target.digest,
            "repository": asked.name,
            "url": f"{request.scheme}://{request.host}/v2/{asked.name}/{kind}/{target.digest}",
        }
        if target.size is not None:
            shown |= {"size": target.size, "length": target.size}
        if target.tag:
            shown["tag"] = target.tag
        return {
            "id": _uuid(),
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "action": action,
            "target": shown,
            "request": {
                "id": _uuid(),
                "addr": request.remote or "",
                "host": request.host,
                "method": request.method,
                "useragent": request.headers.get("User-Agent", ""),
            },
            "actor": {"name": asked.actor.user} if asked.actor.user else {},
            "source": self._source,
        }


def _uuid() -> str:
    """Random (RFC 9562, version 4)."""
    data = bytearray(os.urandom(16))
    data[6] = data[6] & 0x0F | 0x40
    data[8] = data[8] & 0x3F | 0x80
    text = data.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class _Receiver:
    def __init__(self, hook: Webhook, metrics: Metrics) -> None:
        self.hook = hook
        self._metrics = metrics
        self._queue: deque[Json] = deque()
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def wants(self, action: str, target: Target) -> bool:
        return action in self.hook.actions and (self.hook.blobs or target.media_type != _BLOB)

    def put(self, event: Json) -> None:
        if len(self._queue) >= self.hook.waiting:
            self._queue.popleft()
            self._metrics.count("webhook_dropped_total", receiver=self.hook.place)
        self._queue.append(event)
        self._idle.clear()
        self._some.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Wait up to two seconds for the queue, then stop."""
        if self._task is None:
            return
        try:
            await asyncio.wait_for(self._idle.wait(), _PATIENCE)
        except TimeoutError:
            _log.warning("%d notifications for %s were not delivered", len(self), self.hook.place)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self.hook.timeout)
        session = aiohttp.ClientSession(connector=connector(), timeout=timeout, auto_decompress=False)  # none is read
        async with session:
            while True:
                await self._some.wait()
                while self._queue:
                    await self._deliver(session, self._queue.popleft())
                self._some.clear()
                self._idle.set()

    async def _deliver(self, session: aiohttp.ClientSession, event: Json) -> None:
        """Post until it is accepted, or the attempts are used up."""
        pause = self.hook.pause
        for attempt in range(self.hook.attempts):
            if attempt:
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 2, _LONGEST)
            if await self._post(session, event):
                self._metrics.count("webhook_sent_total", receiver=self.hook.place)
                return
            self._metrics.count("webhook_failed_total", receiver=self.hook.place)
        self._metrics.count("webhook_dropped_total", receiver=self.hook.place)
        _log.warning("a notification for %s was given up after %d attempts", self.hook.place, self.hook.attempts)

    async def _post(self, session: aiohttp.ClientSession, event: Json) -> bool:
        headers = {"Content-Type": MEDIA_TYPE, **self.hook.headers}
        try:
            async with session.post(
                self.hook.url, json={"events": [event]}, headers=headers, allow_redirects=False
            ) as answer:
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
