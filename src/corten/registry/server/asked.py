"""A request that was routed and whose sender may do what it asks for."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from corten.registry.server.access import Actor


@dataclass(frozen=True, slots=True)
class Asked:
    """`what` is the path's last word: a digest, a tag, an upload's id; "" where there is none."""

    request: web.Request
    actor: Actor
    name: str
    what: str
