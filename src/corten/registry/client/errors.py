"""What a registry's refusals mean, in the words that Docker's users and scripts know."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from corten.errors import CortenError, Failed, Invalid, NotFound, Unauthorized, Unavailable, Unsupported
from corten.spec import go_json

RETRY_STATUS = (408, 425, 429, 500, 502, 503, 504)
MAX_WAIT = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no success: its status, the registry's error code and message, when to come again."""

    status: int
    code: str
    message: str
    retry_after: float | None

    @property
    def text(self) -> str:
        words = self.code.lower().replace("_", " ")
        return f"{words}: {self.message or words}" if words else self.message or f"status {self.status}"


class Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    code = message = ""
    try:
        first = go_json.document(body, "refusal")["errors"][0]
        code, message = str(first.get("code") or "")[:100], str(first.get("message") or "")[:500]
    except (Invalid, KeyError, IndexError, TypeError, AttributeError):
        pass  # not every proxy speaks the registry's error format
    return Refusal(status, code, " ".join(message.split()), _retry_after(headers.get("Retry-After", "")))


def _retry_after(value: str) -> float | None:
    """Seconds, or a date (RFC 9110, 10.2.3), bounded on both sides."""
    if value.isascii() and value.isdigit():
        seconds = float(value[:6])
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, min(seconds, MAX_WAIT))


def manifest_error(refusal: Refusal, shown: str, repository: str) -> CortenError:
    """The error for a manifest that could not be fetched. `shown` is the reference in its short form."""
    if refusal.code == "NAME_UNKNOWN":
        return NotFound(f"repository {repository} not found: {refusal.text}")
    if refusal.status in (401, 403) or refusal.code in ("DENIED", "UNAUTHORIZED"):
        return access_denied(refusal, repository)
    if refusal.status == 404:
        unknown = refusal if refusal.code else Refusal(404, "MANIFEST_UNKNOWN", "manifest unknown", None)
        return NotFound(f"manifest for {shown} not found: {unknown.text}")
    return other_error(refusal)


def push_error(refusal: Refusal, repository: str) -> CortenError:
    """The error for something that could not be put into a repository."""
    if refusal.status in (401, 403) or refusal.code in ("DENIED", "UNAUTHORIZED"):
        if refusal.code == "UNAUTHORIZED" and refusal.message:
            return Unauthorized(f"unauthorized: {refusal.message}")
        return Unauthorized(f"denied: {refusal.message or 'requested access to the resource is denied'}")
    if refusal.status == 404:
        return NotFound(f"repository {repository} not found: {refusal.text}")
    return other_error(refusal)


def search_error(refusal: Refusal, host: str) -> CortenError:
    """The error for a registry that could not be searched."""
    if refusal.status in (401, 403):
        return Unauthorized(f"unauthorized: searching {host}: {refusal.message or 'authentication required'}")
    if refusal.status in (404, 405, 501):
        return Unsupported(f"registry {host} cannot be searched: it has neither an index nor a catalog")
    return other_error(refusal)


def access_denied(refusal: Refusal, repository: str) -> CortenError:
    if refusal.code == "UNAUTHORIZED" and refusal.message:
        return Unauthorized(f"pull access denied for {repository}: unauthorized: {refusal.message}")
    return NotFound(
        f"pull access denied for {repository}, repository does not exist or may require 'docker login': "
        f"denied: {refusal.message or 'requested access to the resource is denied'}"
    )


def other_error(refusal: Refusal) -> CortenError:
    if refusal.status == 429:
        return Unavailable(f"toomanyrequests: {refusal.message or 'the registry limits how often it answers'}")
    if refusal.status >= 500:
        return Unavailable(f"registry error, received unexpected HTTP status: {refusal.status} {refusal.text}".rstrip())
    return Failed(f"error from registry: {refusal.text}")


def connection_error(error: BaseException, url: str) -> CortenError:
    """What Go's client would print, because that is what users search for."""
    if isinstance(error, TimeoutError):
        return Unavailable(f'Get "{url}": net/http: request canceled (Client.Timeout exceeded while awaiting headers)')
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return Failed(f'Get "{url}": tls: failed to verify certificate: {error}')
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Failed(f'Get "{url}": dial tcp: lookup {error.host}: no such host')
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = (error.os_error.strerror or str(error.os_error)).lower()
        if "Connect call failed" in reason or isinstance(error.os_error, ConnectionRefusedError):
            reason = "connection refused"
        return Failed(f'Get "{url}": dial tcp {error.host}:{error.port}: connect: {reason}')
    proxy = isinstance(error, aiohttp.ClientHttpProxyError)  # has a status; the registry's own are no errors there
    if isinstance(error, aiohttp.ClientResponseError) and not proxy:
        reason = " ".join(error.message.split())[:200]
        return Failed(f'Get "{url}": net/http: HTTP/1.x transport connection broken: malformed HTTP response: {reason}')
    return Failed(f'Get "{url}": {error or type(error).__name__}')
