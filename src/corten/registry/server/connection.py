"""The registry's connections: what is no request is answered with the specification's error body."""

from __future__ import annotations

from aiohttp import web

from corten.http.heads import BoundedHeads
from corten.registry.server.answers import Refusal


class RegistryConnection(BoundedHeads):
    most = 64 << 10  # no account is needed to send one; the largest that it has is a token

    def error_answer(self, status: int, text: str) -> web.Response:
        return Refusal(status, "UNSUPPORTED" if status < 500 else "UNKNOWN", text).answer()
