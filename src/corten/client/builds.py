"""Requests about builds and their cache."""

from __future__ import annotations

from corten.client.containers import filters, truth
from corten.client.http import quote
from corten.spec.build_frames import PROTOCOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from corten.client.api import Answer, Client, Json, Upgraded
    from corten.client.connection import Data


def build(client: Client, query: list[tuple[str, str]]) -> Upgraded:
    """A connection of frames (`corten.spec.build_frames`). A key of `query` may come several times."""
    pairs = "&".join(f"{quote(key)}={quote(value)}" for key, value in query)
    return client.upgrade(f"/build/stream?{pairs}", protocol=PROTOCOL)


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


def caches(client: Client) -> list[Json]:
    """Directories of cache mounts (an addition of Corten's, as what follows: see the engine's api.build_caches)."""
    answer: list[Json] = client.call("GET", "/build/caches")
    return answer


def export_cache(client: Client, id: str) -> Answer:
    """One as a tar."""
    return client.stream("GET", "/build/caches/tar", {"id": id})


def import_cache(client: Client, id: str, body: Iterable[Data], replace: bool) -> None:
    """Make one of a tar."""
    client.stream("PUT", "/build/caches/tar", {"id": id, "replace": truth(replace)}, body).close()


def remove_cache(client: Client, id: str) -> None:
    client.call("DELETE", "/build/caches", {"id": id})
