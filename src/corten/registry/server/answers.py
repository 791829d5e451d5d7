"""How the registry answers: the headers of every answer, pages of lists, and errors in the specification's codes."""

from __future__ import annotations

import logging
from urllib.parse import quote

from aiohttp import web

import corten
from corten.errors import Conflict, Corrupt, CortenError, Exhausted, Forbidden, Invalid, NotFound, Unavailable
from corten.registry.server.store import NO_MANIFEST, NO_REPOSITORY, MissingBlob
from corten.registry.server.uploads import UNKNOWN, TooManyUploads, Upload

_log = logging.getLogger(__name__)
_PAGE = 10_000
HEADERS = {
    "Docker-Distribution-Api-Version": "registry/2.0",
    "Server": f"Corten/{corten.__version__}",
    "X-Content-Type-Options": "nosniff",
}
_NOT_FOUND = {NO_MANIFEST: "MANIFEST_UNKNOWN", NO_REPOSITORY: "NAME_UNKNOWN", UNKNOWN: "BLOB_UPLOAD_UNKNOWN"}


class Refusal(Exception):
    """An answer with the specification's error body."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}

    def answer(self) -> web.Response:
        body = {"errors": [{"code": self.code, "message": str(self), "detail": None}]}
        return web.json_response(body, status=self.status, headers={**HEADERS, **self.headers})


class MoreScope(Exception):
    """A better token would do; `scope` is what it has to be for."""

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
        self.scope = scope


def refusal(error: CortenError, path: str) -> Refusal:
    """What the rooms below say, in the specification's codes."""
    text = str(error)
    match error:
        case Corrupt():
            return Refusal(400, "DIGEST_INVALID", text)
        case MissingBlob():
            return Refusal(404, "MANIFEST_BLOB_UNKNOWN", text)
        case NotFound():
            return Refusal(
                404, _NOT_FOUND.get(text) or ("MANIFEST_UNKNOWN" if _manifest(path) else "BLOB_UNKNOWN"), text
            )
        case Invalid():
            code = "NAME_INVALID" if "repository name" in text else "MANIFEST_INVALID" if _manifest(path) else ""
            return Refusal(400, code or "DIGEST_INVALID", text)
        case Forbidden():
            return Refusal(403, "DENIED", text)
        case Conflict():
            return Refusal(409, "BLOB_UPLOAD_INVALID", text)
        case TooManyUploads():
            return Refusal(429, "TOOMANYREQUESTS", text)
        case Exhausted():
            return Refusal(507, "DENIED", text)
        case Unavailable():
            return Refusal(503, "UNAVAILABLE", text)
    _log.error("a request failed", exc_info=error)
    return Refusal(500, "UNKNOWN", text)


def _manifest(path: str) -> bool:
    return "/manifests/" in path


def page(request: web.Request, names: list[str], path: str) -> tuple[list[str], dict[str, str]]:
    """The page that `n` and `last` ask for, and where the next one is (RFC 5988)."""
    text, last = request.query.get("n", ""), request.query.get("last", "")
    if text and (not (text.isascii() and text.isdigit()) or len(text) > 9):
        raise Refusal(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested")
    count = min(int(text), _PAGE) if text else _PAGE
    left = [name for name in names if name > last] if last else names
    shown, headers = left[:count], dict(HEADERS)
    if len(left) > count > 0:
        headers["Link"] = f'<{path}?n={count}&last={quote(shown[-1], safe="")}>; rel="next"'
    return shown, headers


def where(upload: Upload) -> dict[str, str]:
    """How far an upload is, and where it goes on."""
    return {
        **HEADERS,
        "Location": f"/v2/{upload.repository}/blobs/uploads/{upload.id}",
        "Range": f"0-{max(0, upload.size - 1)}",
        "Docker-Upload-UUID": upload.id,
    }


def created(name: str, digest: str) -> web.Response:
    headers = {**HEADERS, "Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    return web.Response(status=201, headers=headers)
