"""Requests about volumes."""

from __future__ import annotations

from corten.client.containers import filters, truth
from corten.client.http import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.api import Client, Json
    from corten.spec.docker.volume import VolumeCreate


def _at(name: str) -> str:
    return f"/volumes/{named('volume', name)}"


def listing(client: Client, wanted: dict[str, list[str]] | None = None) -> Json:
    """{"Volumes": [...] or null, "Warnings": [...] or null}"""
    answer: Json = client.call("GET", "/volumes", {"filters": filters(wanted or {})})
    return answer


def inspect(client: Client, name: str) -> Json:
    answer: Json = client.call("GET", _at(name))
    return answer


def create(client: Client, config: VolumeCreate) -> Json:
    answer: Json = client.call("POST", "/volumes/create", None, config.given_json())
    return answer


def remove(client: Client, name: str, force: bool) -> None:
    client.call("DELETE", _at(name), {"force": truth(force)})


def prune(client: Client, wanted: dict[str, list[str]]) -> Json:
    answer: Json = client.call("POST", "/volumes/prune", {"filters": filters(wanted)})
    return answer
