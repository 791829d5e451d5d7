"""Requests about networks."""

from __future__ import annotations

from corten.client.containers import filters, truth
from corten.client.http import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.api import Client, Json
    from corten.spec.docker.networking import ConnectRequest, DisconnectRequest, NetworkCreate


def _at(name: str) -> str:
    return f"/networks/{named('network', name)}"


def listing(client: Client, wanted: dict[str, list[str]] | None = None) -> list[Json]:
    answer: list[Json] = client.call("GET", "/networks", {"filters": filters(wanted or {})})
    return answer


def inspect(client: Client, name: str, verbose: bool = False) -> Json:
    answer: Json = client.call("GET", f"{_at(name)}", {"verbose": truth(verbose)})
    return answer


def audit(client: Client, name: str) -> list[Json]:
    """Ways to the containers of a network: Container, Network, Port, Via, From. "*" stands for all networks."""
    answer: list[Json] = client.call("GET", f"{_at(name)}/audit")
    return answer


def create(client: Client, config: NetworkCreate) -> Json:
    answer: Json = client.call("POST", "/networks/create", None, config.given_json())
    return answer


def remove(client: Client, name: str) -> None:
    client.call("DELETE", f"{_at(name)}")


def connect(client: Client, name: str, config: ConnectRequest) -> None:
    client.call("POST", f"{_at(name)}/connect", None, config.given_json())


def disconnect(client: Client, name: str, config: DisconnectRequest) -> None:
    client.call("POST", f"{_at(name)}/disconnect", None, config.given_json())


def prune(client: Client, wanted: dict[str, list[str]]) -> Json:
    answer: Json = client.call("POST", "/networks/prune", {"filters": filters(wanted)})
    return answer
