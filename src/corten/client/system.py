"""Requests about the daemon itself."""

from __future__ import annotations

from corten.client.containers import filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.api import Answer, Client, Json


def version(client: Client) -> Json:
    answer: Json = client.call("GET", "/version")
    return answer


def info(client: Client) -> Json:
    answer: Json = client.call("GET", "/info")
    return answer


def disk_usage(client: Client) -> Json:
    answer: Json = client.call("GET", "/system/df")
    return answer


def events(client: Client, since: str, until: str, wanted: dict[str, list[str]]) -> Answer:
    """A stream of events, one document each; endless unless `until` is in the past."""
    return client.stream("GET", "/events", {"filters": filters(wanted), "since": since or None, "until": until or None})
