"""The registry's HTTP interface (OCI distribution specification 1.1, "API", and Docker's catalog): which function a
request is for, and whether its sender may have it."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from aiohttp import web

from corten.errors import CortenError, Unauthorized
from corten.http.heads import invite, unknown_expectation
from corten.registry.server.access import ACTIONS, Access, Actor
from corten.registry.server.answers import HEADERS, MoreScope, Refusal, refusal
from corten.registry.server.asked import Asked
from corten.registry.server.blob_requests import BlobRequests
from corten.registry.server.bodies import check_coding
from corten.registry.server.gauges import add_gauges
from corten.registry.server.manifest_requests import ManifestRequests
from corten.registry.server.metrics import CONTENT_TYPE, Metrics
from corten.registry.server.names import check_name
from corten.registry.server.parts import Parts
from corten.registry.server.quotas import Quota, Quotas
from corten.registry.server.site import Site
from corten.registry.server.store import Store
from corten.registry.server.token_requests import PATH, TokenRequests
from corten.registry.server.upstreams import Upstream, Upstreams
from corten.registry.server.webhooks import Webhook, Webhooks

Function = Callable[[Asked], Awaitable[web.StreamResponse]]
_KIND = web.RequestKey("kind", str)
_log = logging.getLogger(__name__)
DENIED = "requested access to the resource is denied"
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_PATHS = tuple(
    (re.compile(rf"/v2/(?P<name>.+)/{rest}\Z"), kind)
    for rest, kind in (
        (r"blobs/uploads/?", "uploads"),
        (r"blobs/uploads/(?P<what>[^/]+)", "upload"),
        (r"blobs/(?P<what>[^/]+)", "blob"),
        (r"manifests/(?P<what>[^/]+)", "manifest"),
        (r"tags/list", "tags"),
        (r"referrers/(?P<what>[^/]+)", "referrers"),
    )
)


class Registry:
    """`start` and `close` inside the event loop."""

    def __init__(
        self,
        store: Store,
        access: Access,
        upstreams: Sequence[Upstream] = (),
        quotas: Sequence[Quota] = (),
        webhooks: Sequence[Webhook] = (),
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._access = access
        self._metrics = metrics or Metrics()
        self._webhooks = Webhooks(tuple(webhooks), self._metrics)
        self._upstreams = Upstreams(store, upstreams, self._metrics) if upstreams else None
        self._ledger = ledger = Quotas(store.layout, store.guard, quotas) if quotas else None
        if ledger is not None:
            store.ledger = ledger
        add_gauges(self._metrics, store, ledger)
        parts = Parts(store, access, self._metrics, self._webhooks, self._upstreams, ledger)
        blobs, manifests = BlobRequests(parts), ManifestRequests(parts)
        self._catalog = manifests.catalog
        self._tokens: TokenRequests | None = None
        if access.tokens and access.accounts:
            self._tokens = TokenRequests(access, access.tokens)
        self._functions: dict[tuple[str, str], tuple[str, Function]] = {
            ("POST", "uploads"): ("write", blobs.begin),
            ("GET", "upload"): ("write", blobs.progress),
            ("PATCH", "upload"): ("write", blobs.append),
            ("PUT", "upload"): ("write", blobs.finish),
            ("DELETE", "upload"): ("write", blobs.abort),
            ("GET", "blob"): ("read", blobs.get),
            ("HEAD", "blob"): ("read", blobs.get),
            ("DELETE", "blob"): ("delete", blobs.delete),
            ("GET", "manifest"): ("read", manifests.get),
            ("HEAD", "manifest"): ("read", manifests.get),
            ("PUT", "manifest"): ("write", manifests.put),
            ("DELETE", "manifest"): ("delete", manifests.delete),
            ("GET", "tags"): ("read", manifests.tags),
            ("GET", "referrers"): ("read", manifests.referrers),
        }

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer, expect_handler=_expected)
        return app

    async def start(self) -> None:
        if self._ledger is not None:
            await asyncio.to_thread(self._ledger.usage)  # counted now, and not during a push
        await self._webhooks.start()

    async def close(self) -> None:
        await self._webhooks.close()
        self._access.close()
        if self._upstreams is not None:
            await self._upstreams.close()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        response = await self._answer(request)
        labels = {"method": request.method, "kind": request.get(_KIND, "other")}
        self._metrics.count("requests_total", **labels, status=str(response.status))
        self._metrics.took(time.monotonic() - began, **labels)
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._dispatch(request)
        except Refusal as refused:
            return refused.answer()
        except Unauthorized as error:
            return self._challenge(request, str(error), basic=request.path == PATH).answer()
        except MoreScope as wanted:
            return self._challenge(request, DENIED, wanted.scope, more=True).answer()
        except CortenError as error:
            return refusal(error, request.path).answer()
        except ConnectionError:
            if request.transport is not None:
                raise
            return Refusal(400, "BLOB_UPLOAD_INVALID", "the connection broke off").answer()  # for the metrics alone

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        check_coding(request)
        if path == "/healthz":
            return await self._health()
        if path == PATH and self._tokens is not None:
            return await self._tokens.answer(request)
        for pattern, kind in _PATHS:
            if found := pattern.match(path):
                request[_KIND] = kind
                return await self._one(request, kind, found["name"], found.groupdict().get("what") or "")
        actor = await self._identify(request, "registry:catalog:*" if path == "/v2/_catalog" else "")
        if path in ("/v2", "/v2/") and request.method in ("GET", "HEAD"):
            return web.json_response({}, headers=HEADERS)
        if path == "/v2/_catalog" and request.method == "GET":
            return await self._catalog(request, actor)
        if path == "/metrics" and request.method == "GET":
            if self._access.accounts is not None and not actor.user:
                raise self._challenge(request, "authentication required", basic=True)
            text = await asyncio.to_thread(self._metrics.text)
            return web.Response(text=text, headers={**HEADERS, "Content-Type": CONTENT_TYPE})
        raise Refusal(404, "NOT_FOUND", "no such page")

    async def _health(self) -> web.Response:
        """Whether anything can be written. Needs no account, so it says no more than that."""
        try:
            await asyncio.to_thread(self._store.check)
        except (CortenError, OSError) as error:
            _log.error("unhealthy: %s", error)
            return web.json_response({"status": "failing"}, status=503, headers=HEADERS)
        return web.json_response({"status": "ok"}, headers=HEADERS)

    async def _one(self, request: web.Request, kind: str, name: str, what: str) -> web.StreamResponse:
        right, function = self._functions.get((request.method, kind), ("read", _unsupported))
        name = check_name(name)
        actor = await self._permitted(request, right, name)
        return await function(Asked(request, actor, name, what))

    # ------------------------------------------------------------------------------------------------------ access

    async def _identify(self, request: web.Request, scope: str = "") -> Actor:
        """The sender of a request for a page of no repository: authenticated, where there are accounts. A client learns
        here how to log in."""
        actor = await self._actor(request)
        if self._access.accounts is not None and not actor.known:
            raise self._challenge(request, "authentication required", scope)
        return actor

    async def _actor(self, request: web.Request) -> Actor:
        return await self._access.identify(request.headers.get("Authorization", ""))

    async def _permitted(self, request: web.Request, right: str, name: str) -> Actor:
        scope = f"repository:{name}:{'pull,push' if right == 'write' else ACTIONS[right]}"
        try:
            actor = await self._actor(request)
        except Unauthorized as error:
            raise self._challenge(request, str(error), scope) from error
        if self._access.may(actor, right, name):
            return actor
        # A token that was asked for too little can be followed by a better one; a user without the right has none.
        if self._access.accounts is None or (actor.user and right not in self._access.rights.of(actor.user, name)):
            raise Refusal(403, "DENIED", DENIED)
        if actor.claims is not None:
            raise self._challenge(request, DENIED, scope, more=True)
        raise self._challenge(request, "authentication required", scope)

    def _challenge(
        self, request: web.Request, message: str, scope: str = "", more: bool = False, basic: bool = False
    ) -> Refusal:
        """401, and how to authenticate. `more`: a token was good, but not for this."""
        tokens = self._access.tokens
        if tokens is None or basic or not _HOST.fullmatch(request.host):
            return Refusal(401, "UNAUTHORIZED", message, {"WWW-Authenticate": 'Basic realm="Corten registry"'})
        scheme = "https" if request.headers.get("X-Forwarded-Proto", request.scheme) == "https" else "http"
        words = {
            "realm": tokens.realm or f"{scheme}://{request.host}{PATH}",
            "service": tokens.service,
            "scope": scope,
            "error": "insufficient_scope" if more else "",
        }
        text = ",".join(f'{key}="{value}"' for key, value in words.items() if value)
        # What clients make of error="insufficient_scope" is DENIED; the body says so to those that read only that.
        return Refusal(401, "DENIED" if more else "UNAUTHORIZED", message, {"WWW-Authenticate": f"Bearer {text}"})


async def _expected(request: web.Request) -> web.StreamResponse | None:
    """A client that waits with its body is asked to send it, here where every path has a function for it."""
    if expected := unknown_expectation(request):
        answer = Refusal(417, "UNSUPPORTED", f"unknown expectation: {expected[:100]}").answer()
        answer.force_close()
        return answer
    invite(request)
    return None


async def _unsupported(_asked: Asked) -> web.StreamResponse:
    raise Refusal(405, "UNSUPPORTED", "The operation is unsupported.")


async def start(registry: Registry, host: str, port: int, tls: ssl.SSLContext | None = None) -> web.AppRunner:
    """Listen. `runner.addresses` says where; `runner.cleanup()` ends it."""
    app = registry.application()

    async def running(_: web.Application) -> AsyncIterator[None]:
        await registry.start()
        yield
        await registry.close()

    app.cleanup_ctx.append(running)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        await Site(runner, host, port, tls).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner
