"""One repository of one registry: authorised requests, redirects, retries.

A request goes out anonymously; a 401 says how to authorise, and the answer is kept for the requests that follow. A
redirect to another origin loses every credential (CVE-2020-15157), and one from https to http is not followed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp

from corten.errors import CortenError, Failed
from corten.registry.client import errors, tokens
from corten.registry.client.auth import Challenge, Credentials, challenges, check_realm, joined, origin
from corten.registry.client.bodies import read_at_most, refusal_of
from corten.registry.client.endpoints import is_loopback, settled
from corten.registry.client.errors import MAX_WAIT, Refusal, Refused
from corten.registry.client.pace import LEAST
from corten.registry.client.sources import Source
from corten.registry.client.web import Tls, Web

MAX_REDIRECTS = 10
_API = ("/v2/", "/v1/")
ATTEMPTS = 5
FIRST_ANSWER = 5.0  # seconds; dockerd waits 15 for a mirror's answer to /v2/
_RETRY = (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, TimeoutError)
T = TypeVar("T")
Body = bytes | AsyncIterator[bytes]
Waiting = Callable[[float], None]  # called with the seconds that a retry waits


class Repository:
    """`name` is the repository's in its short form. `pause` is the first wait between attempts, in seconds; it doubles
    each time. Without a path it is good only for `check`. `offline` asks the authentication server for an identity
    token, which is then `identity_token`. `patience` is for a place that has another one behind it: how many seconds it
    may be silent, when it has said within FIRST_ANSWER that it is there at all.
    """

    def __init__(
        self,
        web: Web,
        source: Source,
        name: str,
        credentials: Credentials,
        pause: float = 1.0,
        offline: bool = False,
        attempts: int = ATTEMPTS,
        patience: float | None = None,
    ) -> None:
        self._web = web
        self._endpoint = source.endpoint
        self._path = source.path
        self._attempts = attempts
        self._patience = patience
        self.name = name
        self._credentials = credentials
        self._pause = pause
        self._offline = offline
        self.identity_token = ""
        self.beside: set[str] = set()  # other repositories of this registry that tokens are to be good for reading
        self._authorization = f"Bearer {credentials.registry_token}" if credentials.registry_token else ""
        self._authorizing = asyncio.Lock()
        self._scheme = source.endpoint.schemes[0]
        self._reached = False
        self._probed = source.endpoint.is_settled and patience is None

    @property
    def address(self) -> str:
        """HOST/PATH, for messages."""
        return f"{self._endpoint.host}/{self._path}"

    @property
    def root(self) -> str:
        return f"{self._scheme}://{self._endpoint.host}"

    def url(self, rest: str) -> str:
        return f"{self._scheme}://{self._endpoint.host}/v2/{self._path}/{rest}"

    async def small(
        self,
        rest: str,
        headers: Mapping[str, str],
        limit: int,
        waiting: Waiting | None = None,
        as_sent: bool = False,
    ) -> tuple[bytes, Mapping[str, str]]:
        """A bounded body (a blob's is wanted `as_sent`) and its headers, with retries.

        Raises Refused, or a CortenError about the connection.
        """

        async def once() -> tuple[bytes, Mapping[str, str]]:
            async with self.get(rest, headers) as response:
                body = await read_at_most(response, limit, as_sent)
                return body, response.headers

        return await self.retry(once, waiting)

    async def retry(
        self,
        once: Callable[[], Awaitable[T]],
        waiting: Waiting | None = None,
        progressed: Callable[[], int] | None = None,
    ) -> T:
        """Call `once` until it succeeds, as often as is configured. An error that is not temporary is raised at once.

        An attempt that got further, by `progressed` (in bytes), does not count: counting begins anew. It has to have
        got as far as the least pace allows for its time, or a byte an attempt would hold a download for ever.
        """
        failures = before = 0
        began = time.monotonic()
        while True:
            try:
                return await once()
            except (Refused, aiohttp.ClientError, TimeoutError, OSError) as error:
                now = progressed() if progressed is not None else 0
                seconds, began = time.monotonic() - began, time.monotonic()
                further = now - before > LEAST * seconds
                failures, before = (1 if further else failures + 1), max(now, before)
                wait = self._wait(error, failures, last=failures >= self._attempts and not further)
            if waiting is not None:
                waiting(wait)
            await asyncio.sleep(wait)

    def _wait(self, error: Exception, failures: int, last: bool) -> float:
        """Seconds until the next attempt. Raises when there is to be none."""
        wait = min(self._pause * float(2 ** (failures - 1)), MAX_WAIT) * random.uniform(0.8, 1.2)
        if isinstance(error, Refused):
            if error.refusal.status not in errors.RETRY_STATUS or last:
                raise error
            return wait if error.refusal.retry_after is None else error.refusal.retry_after
        # A registry that never answered is most likely not there; one that did may be restarting.
        absent = isinstance(error, aiohttp.ClientConnectorError) and not self._reached
        if absent or last or not isinstance(error, _RETRY):
            raise errors.connection_error(error, f"{self._scheme}://{self._endpoint.host}/v2/") from error
        return wait

    @asynccontextmanager
    async def get(self, rest: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful answer to one GET, authorised when it has to be. Raises Refused for every other status."""
        if not self._probed:
            await self._probe()
        used = self._authorization
        response = await self._follow(self.url(rest), headers, used)
        try:
            # What another origin asks for is not ours to give: it would name a realm of its own.
            if response.status == 401 and self.is_ours(str(response.url)):
                asked = challenges(response.headers.getall("WWW-Authenticate", []))
                refused = await refusal_of(response)
                await self._authorize(asked, refused, used)
                response = await self._follow(self.url(rest), headers, self._authorization)
            if response.status not in (200, 206):
                raise Refused(await refusal_of(response))
            yield response
        finally:
            response.close()

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Callable[[], Body] | None = None,
        patience: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful answer to a request that changes something, or to HEAD. `body` makes it anew for each attempt;
        `patience` is how many seconds the answer may take, where that is not the usual.

        `url` may be on another origin (a registry says where an upload goes): credentials are not sent there.
        """
        if not self._probed:
            rest = url.partition("://")[2]
            await self._probe()
            url = f"{self._scheme}://{rest}"
        used = self._authorization
        response = await self._request(method, url, headers, body, used, patience)
        try:
            if response.status == 401 and self.is_ours(url):
                asked = challenges(response.headers.getall("WWW-Authenticate", []))
                refused = await refusal_of(response)
                await self._authorize(asked, refused, used, "pull,push")
                response = await self._request(method, url, headers, body, self._authorization, patience)
            there = method == "HEAD" and response.status in (302, 307)  # its content is elsewhere
            if not (200 <= response.status < 300 or there):
                raise Refused(await refusal_of(response))
            yield response
        finally:
            response.close()

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Callable[[], Body] | None,
        authorization: str,
        patience: float | None,
    ) -> aiohttp.ClientResponse:
        there, home = origin(url), origin(self.url(""))
        if home[0] == "https" and there[0] != "https":
            raise Failed(f"registry {self._endpoint.host} sends an upload to where it must not: {url[:200]!r}")
        sent = dict(headers)
        if authorization and self.is_ours(url):
            sent["Authorization"] = authorization
        tls = self._tls() if there == home else True
        data = body() if body is not None else None
        response = await self._web.request(method, url, sent, tls, data, patience)
        self._reached = True
        return response

    async def check(self) -> None:
        """Are the credentials good? Raises Refused when not."""

        async def once() -> None:
            async with self.send("GET", f"{self._scheme}://{self._endpoint.host}/v2/", {}):
                return

        await self.retry(once)

    async def _probe(self) -> None:
        """Find out whether TLS may be done without, by the registry's addresses, and then whether it has TLS.

        TimeoutError when it is not to be waited for, and does not answer.
        """
        if self._patience is not None:
            async with asyncio.timeout(min(self._patience, FIRST_ANSWER)):
                await self._find_out()
                response = await self._web.request("GET", f"{self.root}/v2/", {}, self._tls())
                await response.content.readany()  # most often all of it: the connection can be used again
                response.release()
        else:
            await self._find_out()
        self._probed = True

    async def _find_out(self) -> None:
        self._endpoint = endpoint = await settled(self._endpoint)
        *first, self._scheme = endpoint.schemes
        for scheme in first:
            try:
                (await self._web.request("GET", f"{scheme}://{endpoint.host}/v2/", {}, self._tls())).close()
            except (aiohttp.ClientError, OSError):
                continue
            self._scheme = scheme
            break

    def is_ours(self, url: str) -> bool:
        """Whether credentials may go there: to the registry's API. What else is on its host and port may be a store of
        another program, which they mean nothing to, or which refuses them beside a signature (as dockerd has it)."""
        return origin(url) == origin(self.url("")) and urlsplit(url).path.startswith(_API)

    def _tls(self) -> Tls:
        return self._endpoint.tls or self._endpoint.verify

    async def _follow(self, url: str, headers: Mapping[str, str], authorization: str) -> aiohttp.ClientResponse:
        home = origin(url)
        for _ in range(MAX_REDIRECTS):
            same = origin(url) == home
            sent = dict(headers)
            if authorization and self.is_ours(url):
                sent["Authorization"] = authorization
            tls = self._tls() if same else True
            response = await self._web.request("GET", url, sent, tls, patience=self._patience)
            self._reached = True
            if response.status not in (301, 302, 303, 307, 308):
                return response
            target = joined(url, response.headers.get("Location", ""))
            response.close()
            parts = urlsplit(target)
            downgrade = urlsplit(url).scheme == "https" and parts.scheme == "http"
            if parts.scheme not in ("http", "https") or downgrade or "@" in parts.netloc or not parts.netloc:
                raise Failed(f"registry {self._endpoint.host} redirects to where it must not: {target[:200]!r}")
            url = target
        raise Failed(f"registry {self._endpoint.host} redirects more than {MAX_REDIRECTS} times")

    # --------------------------------------------------------------------------------------------- authorisation

    async def _authorize(self, asked: list[Challenge], refused: Refusal, used: str, actions: str = "pull") -> None:
        """Find an Authorization that meets a challenge. `used` is the one that was just refused."""
        async with self._authorizing:
            if self._authorization != used:
                return  # another request of this pull has renewed it meanwhile
            for challenge in asked:
                if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                    self._authorization = "Bearer " + await self._token(challenge, actions)
                    return
            basic = self._credentials.basic
            if basic and basic != used and any(challenge.scheme == "basic" for challenge in asked):
                self._authorization = basic
                return
        if not basic and asked and all(challenge.scheme == "basic" for challenge in asked):
            # Docker's words and status: a 401 of our own would make its client ask for a password on the terminal.
            raise Failed(f'Head "{self.url("manifests/")}": no basic auth credentials')
        raise Refused(refused)

    async def _token(self, challenge: Challenge, actions: str) -> str:
        realm = check_realm(challenge.parameters["realm"], self._endpoint, self.root, self._credentials.secret)
        scope = challenge.parameters.get("scope") or (f"repository:{self._path}:{actions}" if self._path else "")
        service = challenge.parameters.get("service", "")
        scopes = [*scope.split(), *(f"repository:{path}:pull" for path in sorted(self.beside))]
        try:
            known = self._credentials
            async with asyncio.timeout(self._patience):
                token = await tokens.fetch(self._web, realm, service, scopes, known, self._tls_of, self._offline)
        except aiohttp.ClientConnectorError as error:
            raise errors.connection_error(error, realm) from error
        self.identity_token = token.identity
        return token.access

    def _tls_of(self, url: str) -> Tls:
        """The registry's own TLS settings for its host; for other hosts certificates are verified.

        So they are on other ports of this machine where a secret is sent: each may be another user's program.
        """
        name = urlsplit(url).hostname or ""
        if name != urlsplit(self.url("")).hostname:
            return True
        stranger = is_loopback(name) and origin(url) != origin(self.root)
        return True if stranger and self._credentials.secret and self._endpoint.tls is None else self._tls()


def translate(error: Refused, shown: str, repository: str) -> CortenError:
    return errors.manifest_error(error.refusal, shown, repository)
