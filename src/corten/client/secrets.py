"""Requests about stored secrets, an addition of Corten's API."""

from __future__ import annotations

import base64

from corten.client.containers import filters
from corten.client.http import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.api import Client, Json


def _at(name: str) -> str:
    return f"/stored-secrets/{named('secret', name)}"


def listing(client: Client, wanted: dict[str, list[str]] | None = None) -> list[Json]:
    answer: list[Json] = client.call("GET", "/stored-secrets", {"filters": filters(wanted or {})})
    return answer


def inspect(client: Client, name: str) -> Json:
    answer: Json = client.call("GET", _at(name))
    return answer


def create(client: Client, name: str, text: bytes, labels: dict[str, str]) -> str:
    """Its id."""
    body = {"Name": name, "Labels": labels, "Data": base64.b64encode(text).decode()}
    return str(client.call("POST", "/stored-secrets/create", None, body)["ID"])


def remove(client: Client, name: str) -> None:
    client.call("DELETE", _at(name))
