"""Requests about images. A name may contain slashes; they stay slashes in the path."""

from __future__ import annotations

from corten.client.containers import filters, truth
from corten.client.http import named, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from corten.client.api import Answer, Client, Json
    from corten.client.connection import Data

# base64url of "{}": no credentials.
NO_CREDENTIALS = "e30="


def _at(name: str, what: str = "") -> str:
    return f"/images/{named('image', name, b'/:@')}{what}"


def listing(
    client: Client, everything: bool = False, wanted: dict[str, list[str]] | None = None, manifests: bool = False
) -> list[Json]:
    """`manifests`: with what there is of each image's index (API 1.47)."""
    query = {"all": truth(everything), "filters": filters(wanted or {}), "manifests": truth(manifests)}
    answer: list[Json] = client.call("GET", "/images/json", query)
    return answer


def inspect(client: Client, name: str, platform: str = "") -> Json:
    """`platform` is the JSON of an OCI platform (API 1.49)."""
    answer: Json = client.call("GET", _at(name, "/json"), {"platform": platform or None})
    return answer


def pull(client: Client, repository: str, tag: str, platform: str = "", credentials: str = "") -> Answer:
    """A stream of progress documents. An empty `tag` pulls every tag. `credentials` is base64url JSON."""
    query = {"fromImage": repository, "platform": platform or None, "tag": tag or None}
    return client.stream("POST", "/images/create", query, None, {"X-Registry-Auth": credentials or NO_CREDENTIALS})


def push(client: Client, name: str, tag: str, platform: str = "", credentials: str = "") -> Answer:
    query = {"platform": platform or None, "tag": tag or None}
    return client.stream("POST", _at(name, "/push"), query, None, {"X-Registry-Auth": credentials or NO_CREDENTIALS})


def distribution(client: Client, name: str, credentials: str = "") -> Json:
    """What its registry has: {"Descriptor": {"digest": ...}, "Platforms": [...]}."""
    headers = {"X-Registry-Auth": credentials or NO_CREDENTIALS}
    path = f"/distribution/{named('image', name, b'/:@')}/json"
    answer: Json = client.call("GET", path, None, None, headers)
    return answer


def search(client: Client, term: str, limit: int, wanted: dict[str, list[str]], credentials: str = "") -> list[Json]:
    query = {"term": term, "limit": str(limit) if limit else None, "filters": filters(wanted)}
    headers = {"X-Registry-Auth": credentials or NO_CREDENTIALS}
    answer: list[Json] = client.call("GET", "/images/search", query, None, headers)
    return answer


def load(client: Client, body: Iterable[Data], quiet: bool, platforms: Iterable[str] = ()) -> Answer:
    """A stream of progress documents; the body is a tar as `save` makes it. `platforms` are JSON (API 1.48)."""
    extra = "".join(f"&platform={quote(platform)}" for platform in platforms)
    return client.stream("POST", f"/images/load?quiet={int(quiet)}{extra}", None, body)


def save(
    client: Client, names: Iterable[str], platform: str = "", since: str = "", present: Iterable[str] = ()
) -> Answer:
    """A tar of the images. The key `names` repeats, which is why the path carries the query itself.

    `since` and `present` (chain ids) leave layers out: an addition of Corten's.
    """
    pairs = [f"names={quote(name)}" for name in names] + [f"present={quote(chain)}" for chain in present]
    keys = "&".join([*pairs, f"since={quote(since)}"] if since else pairs)
    extra = f"&platform={quote(platform)}" if platform else ""
    return client.stream("GET", f"/images/get?{keys}{extra}")


def import_(client: Client, query: dict[str, str | list[str] | None], body: Iterable[Data] | None) -> Answer:
    """Make an image of a root file system's tar; `query` has fromSrc, repo, tag, message, platform, changes."""
    pairs = []
    for key, value in query.items():
        for one in value if isinstance(value, list) else [value]:
            if one:
                pairs.append(f"{key}={quote(one)}")
    return client.stream("POST", "/images/create?" + "&".join(pairs), None, body)


def tag(client: Client, name: str, repository: str, tag: str) -> None:
    client.call("POST", _at(name, "/tag"), {"repo": repository, "tag": tag or None})


def remove(client: Client, name: str, force: bool, no_prune: bool, platforms: list[str] | None = None) -> list[Json]:
    """[{"Untagged": name} or {"Deleted": id}, ...]"""
    pairs = [f"platforms={quote(platform)}" for platform in platforms or []]
    pairs += ["force=1"] if force else []
    pairs += ["noprune=1"] if no_prune else []
    answer: list[Json] = client.call("DELETE", _at(name) + ("?" + "&".join(pairs) if pairs else ""))
    return answer


def history(client: Client, name: str) -> list[Json]:
    answer: list[Json] = client.call("GET", _at(name, "/history"))
    return answer


def present(client: Client, chains: Iterable[str]) -> list[str] | None:
    """Those of these chain ids whose layers the engine has; None from one that cannot say so (an addition of ours)."""
    from corten.client.errors import ApiError

    try:
        answer = client.call("POST", "/images/present", None, {"ChainIds": list(chains)})
    except ApiError as error:
        if error.status in (404, 405, 501):
            return None
        raise
    found: list[str] = answer["Present"]
    return found


def gc(client: Client, dry: bool, policy: dict[str, str]) -> Json:
    """What the garbage collection policy removed, or with `dry` would. An addition of Corten's."""
    from corten.client import quickjson

    query = {"dry-run": truth(dry), "policy": quickjson.dumps(policy) if policy else None}
    answer: Json = client.call("POST", "/images/gc", query)
    return answer


def prune(client: Client, wanted: dict[str, list[str]]) -> Json:
    answer: Json = client.call("POST", "/images/prune", {"filters": filters(wanted)})
    return answer
