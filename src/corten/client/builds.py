"""Requests about builds and their cache."""

from __future__ import annotations

from corten.client.containers import filters, truth
from corten.client.http import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from corten.client.api import Answer, Client, Json
    from corten.client.connection import Data


def build(client: Client, query: list[tuple[str, str]], body: Iterable[Data], credentials: str) -> Answer:
    """A stream of the build's events (`trace`, an addition of Corten's: see the engine's api.traces). A key of `query`
    may come several times; `credentials` is base64url JSON, registry to credentials."""
    pairs = [f"{quote(key)}={quote(value)}" for key, value in [("trace", "1"), *query]]
    headers = {"X-Registry-Config": credentials} if credentials else {}
    return client.stream("POST", "/build?" + "&".join(pairs), None, body, headers)


def prune(client: Client, everything: bool, wanted: dict[str, list[str]], keep: int) -> Json:
    query = {"all": truth(everything), "filters": filters(wanted), "keep-storage": str(keep) if keep else None}
    answer: Json = client.call("POST", "/build/prune", query)
    return answer


def usage(client: Client) -> list[Json]:
    """The rows of the build cache."""
    answer: Json = client.call("GET", "/system/df", {"type": "build-cache"})
    rows: list[Json] = answer.get("BuildCache") or []
    return rows


def history(client: Client) -> list[Json]:
    """The builds that were, newest first (an addition of Corten's, as what follows: see the engine's
    api.build_history)."""
    answer: list[Json] = client.call("GET", "/build/history")
    return answer


def inspect(client: Client, ref: str) -> bytes:
    """One of them, as the daemon wrote it. `ref` may be the unique start of a reference."""
    return client.raw("GET", f"/build/history/{quote(ref)}")


def logs(client: Client, ref: str) -> Answer:
    """What it said: a stream of events as `build` has it."""
    return client.stream("GET", f"/build/history/{quote(ref)}/logs")


def attached(client: Client, ref: str, kind: str) -> bytes:
    """What was attested of it; `kind` is what the type of the predicate begins with, "" for the first."""
    return client.raw("GET", f"/build/history/{quote(ref)}/attached", {"type": kind or None})


def remove(client: Client, ref: str) -> None:
    client.call("DELETE", f"/build/history/{quote(ref)}")
