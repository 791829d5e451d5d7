"""Searching a registry: by the index API of version 1, which Docker Hub has, or in the catalog of version 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from corten.errors import Failed, Invalid
from corten.registry.client.bodies import read_at_most
from corten.registry.client.errors import Refused, search_error
from corten.registry.client.repository import Repository
from corten.spec import go_json

INDEX = "index.docker.io"  # where Docker Hub is searched
_MOST = 4 << 20
_PAGE = 1000
_PAGES = 100
_ABSENT = (404, 405, 501)
_UNSAID = 1 << 16  # of a description


@dataclass(frozen=True, slots=True)
class Found:
    """`name` can be pulled as it stands."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False


async def search(at: Repository, host: str, term: str, limit: int) -> list[Found]:
    """At most `limit` repositories whose name has `term` in it. `host` is "" for Docker Hub.

    Raises a CortenError for a registry that fails.
    """
    try:
        return await _index(at, host, term, limit)
    except Refused as error:
        if error.refusal.status not in _ABSENT or not host:
            raise search_error(error.refusal, host or INDEX) from error
    try:
        return await _catalog(at, host, term, limit)
    except Refused as error:
        raise search_error(error.refusal, host) from error


async def _index(at: Repository, host: str, term: str, limit: int) -> list[Found]:
    query = urlencode({"q": term, "n": str(limit)})
    answer = await _get(at, f"/v1/search?{query}")
    results = answer.get("results")
    if not isinstance(results, list):
        raise Failed(f"registry {host or INDEX} gives no list of results")
    return [found for each in results[:limit] if (found := _found(each, host)) is not None]


def _found(entry: Any, host: str) -> Found | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return None
    name, stars = entry["name"], entry.get("star_count")
    return Found(
        f"{host}/{name}" if host else name,
        str(entry.get("description") or "")[:_UNSAID],
        stars if isinstance(stars, int) else 0,
        entry.get("is_official") is True,
    )


async def _catalog(at: Repository, host: str, term: str, limit: int) -> list[Found]:
    found: list[Found] = []
    last = ""
    for _ in range(_PAGES):
        query = urlencode({"n": str(_PAGE), **({"last": last} if last else {})})
        names = (await _get(at, f"/v2/_catalog?{query}")).get("repositories") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Failed(f"registry {host} gives no catalog")
        found += [Found(f"{host}/{name}") for name in names if term in name]
        if not names or len(found) >= limit or names[-1] <= last:
            break
        last = names[-1]
    return found[:limit]


async def _get(at: Repository, path: str) -> dict[str, Any]:
    async def once() -> bytes:
        async with at.send("GET", at.root + path, {"Accept": "application/json"}) as response:
            return await read_at_most(response, _MOST)

    try:
        return go_json.document(await at.retry(once), "answer")
    except Invalid as error:
        raise Failed(f"registry answers {path.partition('?')[0]} with no JSON object") from error
