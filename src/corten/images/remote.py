"""What registries have, looked at without pulling: one reference, or a search."""

from __future__ import annotations

from typing import Any

from corten.errors import CortenError, Invalid
from corten.registry.client.documents import Fetched
from corten.registry.client.registry import Registry
from corten.registry.client.repository import Repository
from corten.spec import oci_image
from corten.spec.docker.filters import Filters
from corten.spec.json import Json
from corten.spec.oci_image import Index
from corten.spec.reference import DEFAULT_DOMAIN, Reference, parse

_LIMIT, _MOST = 25, 100
_PLATFORM = {"architecture": str, "os": str, "os.version": str, "os.features": list, "variant": str}


class Remote:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def distribution(self, ref: str, auth: Json | None) -> Json:
        """{"Descriptor": .., "Platforms": [..]}, from the first source that has it. Raises the last source's error."""
        reference = parse(ref).tagged
        *mirrors, last = self._registry.sources(reference, auth)
        for mirror in mirrors:
            try:
                return await self._look(mirror, reference)
            except CortenError:  # whatever it is: the mirrored registry itself is asked next
                continue
        return await self._look(last, reference)

    async def _look(self, repository: Repository, reference: Reference) -> Json:
        fetched = await self._registry.manifest(repository, reference)
        document = oci_image.parse_manifest(fetched.body, fetched.content_type)
        descriptor = {"mediaType": document.media_type, "digest": fetched.digest, "size": len(fetched.body)}
        if isinstance(document, Index):
            return {"Descriptor": descriptor, "Platforms": _listed(fetched)}
        body = await self._registry.small_blob(repository, document.config, oci_image.MAX_CONFIG)
        try:
            found = _platform(oci_image.parse_json(body, oci_image.MAX_CONFIG, "image configuration"))
        except Invalid:  # not everything in a registry is an image
            found = {}
        return {"Descriptor": descriptor, "Platforms": [found] if found else []}

    async def search(self, term: str, limit: int, filters: Filters, auth: Json | None) -> list[Json]:
        """Docker's rows. `limit` 0 stands for its default. Raises Invalid for a bad filter or limit."""
        if "://" in term:
            raise Invalid(f"invalid repository name: repository name ({term}) should not have a scheme")
        if not 1 <= (limit or _LIMIT) <= _MOST:
            raise Invalid(f"limit {limit} is outside the range of [1, {_MOST}]")
        stars = max([_number(text) for text in filters.get("stars", ())], default=0)
        official = filters.flag("is-official", False) if "is-official" in filters else None
        if filters.flag("is-automated", False):
            return []  # there are none any more
        domain, rest = _split(term)
        found = await self._registry.search(domain, rest, limit or _LIMIT, auth)
        return [
            {
                "name": each.name,
                "description": each.description,
                "star_count": each.stars,
                "is_official": each.official,
                "is_automated": False,
            }
            for each in found
            if each.stars >= stars and official in (None, each.official)
        ]


def _split(term: str) -> tuple[str, str]:
    """The registry and what is searched there. A registry alone, with a slash behind it, is searched for everything."""
    first, slash, rest = term.partition("/")
    if slash and (set(first) & set(".:") or first == "localhost") and first != "index.docker.io":
        parse(f"{first}/x")
        return (first, rest) if first != DEFAULT_DOMAIN else (DEFAULT_DOMAIN, rest.removeprefix("library/"))
    if not term:
        raise Invalid("invalid search: a term has to be given")
    return DEFAULT_DOMAIN, term.removeprefix("index.docker.io/").removeprefix("library/")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Invalid(f"invalid filter 'stars={text}'")
    return int(text)


def _listed(fetched: Fetched) -> list[Json]:
    return [found for entry in oci_image.entries(fetched.body) if (found := _platform(entry.get("platform")))]


def _platform(document: Any) -> Json:
    """What of a platform object is as it should be; {} when that is neither an operating system nor an architecture."""
    if not isinstance(document, dict):
        return {}
    found = {key: document[key] for key, kind in _PLATFORM.items() if isinstance(document.get(key), kind)}
    return found if found.get("architecture") or found.get("os") else {}
