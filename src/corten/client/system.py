"""Requests about the daemon itself."""

from __future__ import annotations

from corten.client.containers import filters, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.api import Answer, Client, Json
    from corten.spec.docker.auth import AuthConfig


def version(client: Client) -> Json:
    answer: Json = client.call("GET", "/version")
    return answer


def info(client: Client) -> Json:
    answer: Json = client.call("GET", "/info")
    return answer


def login(client: Client, auth: AuthConfig) -> Json:
    """{"Status": ..., "IdentityToken": ...} when the registry takes the credentials, ApiError otherwise."""
    answer: Json = client.call("POST", "/auth", None, auth.given_json())
    return answer


def disk_usage(client: Client) -> Json:
    answer: Json = client.call("GET", "/system/df")
    return answer


def prune_builds(client: Client, everything: bool, wanted: dict[str, list[str]]) -> Json:
    """Remove what builds left; {} from a daemon that does not build."""
    from corten.client.errors import ApiError

    try:
        answer: Json = client.call("POST", "/build/prune", {"all": truth(everything), "filters": filters(wanted)})
    except ApiError as error:
        if error.status in (404, 501):
            return {}
        raise
    return answer


def check(client: Client, repair: bool, deep: bool, items: bool) -> Answer:
    """A stream of progress documents; the report is the last one's `aux`. An addition of Corten's."""
    query = {"repair": truth(repair), "deep": truth(deep), "items": truth(items)}
    return client.stream("POST", "/system/check", query)


def events(client: Client, since: str, until: str, wanted: dict[str, list[str]]) -> Answer:
    """A stream of events, one document each; endless unless `until` is in the past."""
    return client.stream("GET", "/events", {"filters": filters(wanted), "since": since or None, "until": until or None})
