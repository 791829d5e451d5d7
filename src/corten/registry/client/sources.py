"""Where a repository is pulled from: mirrors of any registry, and locations that differ from its name.

A rule is found by the longest beginning of the canonical name (`docker.io`, `quay.io/team`), at a slash; `*` is for all
names that have no rule of their own. What follows the rule's name is appended to the mirror's or location's path:

    rule               mirror or location            docker.io/library/busybox is pulled from
    docker.io          https://cache.lan/hub         https://cache.lan/v2/hub/library/busybox
    docker.io/library  registry.lan:5000/official    registry.lan:5000/v2/official/busybox
    *                  http://10.0.0.5:5000          http://10.0.0.5:5000/v2/docker.io/library/busybox

Rules are about reading. A push goes where its name says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from corten.errors import Invalid
from corten.registry.client.endpoints import Endpoint, Endpoints
from corten.spec.reference import DEFAULT_DOMAIN, Reference, parse

EVERY = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """`mirrors` are URLs, asked in this order and before the registry itself, which is not asked at all when
    `only_mirrors`. `location` is HOST[:PORT][/PATH], asked instead of what the name says; "" for none."""

    name: str
    mirrors: tuple[str, ...] = ()
    location: str = ""
    only_mirrors: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A repository at one registry.

    `domain` is the registry whose credentials may be sent there; "" for a mirror: none may.
    """

    endpoint: Endpoint
    path: str
    domain: str = ""


@dataclass(frozen=True, slots=True)
class _Mirror:
    endpoint: Endpoint
    path: str


class Sources:
    """The rules by name. Raises Invalid when one cannot be followed."""

    def __init__(self, endpoints: Endpoints, rules: Iterable[Rule] = (), hub_mirrors: Sequence[str] = ()) -> None:
        self._endpoints = endpoints
        self._rules = {rule.name: rule for rule in rules}
        hub = self._rules.get(DEFAULT_DOMAIN, Rule(DEFAULT_DOMAIN))
        if hub_mirrors:
            urls = (*(_without_path(url) for url in hub_mirrors), *hub.mirrors)
            self._rules[DEFAULT_DOMAIN] = Rule(hub.name, urls, hub.location, hub.only_mirrors)
        for rule in self._rules.values():
            self._check(rule)

    def of(self, reference: Reference) -> list[Source]:
        """All sources, in the order to try; at least one. Raises Invalid when the rules leave none."""
        found = self._longest(reference.name)
        if found is None:
            return [self.origin(reference)]
        rule, rest = found
        mirrors = [self._mirror(url) for url in rule.mirrors]
        sources = [Source(mirror.endpoint, path) for mirror in mirrors if (path := _joined(mirror.path, rest))]
        if not rule.only_mirrors:
            sources.append(self._moved(rule, rest) if rule.location else self.origin(reference))
        if not sources:
            raise Invalid(f"registries: the rule for {rule.name} leaves no place to ask for {reference.familiar_name}")
        return sources

    def origin(self, reference: Reference) -> Source:
        """Where the name itself says."""
        return Source(self._endpoints.find(reference.domain), reference.path, reference.domain)

    def _longest(self, name: str) -> tuple[Rule, str] | None:
        beginning = name
        while beginning:
            if beginning in self._rules:
                return self._rules[beginning], name[len(beginning) :].strip("/")
            beginning = beginning.rpartition("/")[0]
        return (self._rules[EVERY], name) if EVERY in self._rules else None

    def _moved(self, rule: Rule, rest: str) -> Source:
        domain, _, path = rule.location.partition("/")
        return Source(self._endpoints.find(domain), _joined(path, rest), domain)

    def _mirror(self, url: str) -> _Mirror:
        scheme, separator, rest = url.rstrip("/").partition("://")
        host, _, path = rest.partition("/")
        if scheme not in ("http", "https") or not separator or not _is_location(rest):
            raise Invalid(f"registry mirror {url!r} is no http:// or https:// URL of a host")
        return _Mirror(self._endpoints.mirror(host, scheme), path)

    def _check(self, rule: Rule) -> None:
        if rule.name != EVERY and not _is_location(rule.name):
            raise Invalid(f"registries: {rule.name!r} is neither a registry nor the beginning of a repository's name")
        for url in rule.mirrors:
            self._mirror(url)
        if rule.location and not _is_location(rule.location):
            raise Invalid(f"registries: location {rule.location!r} of {rule.name} is no HOST[:PORT][/PATH]")
        if rule.only_mirrors and not rule.mirrors:
            raise Invalid(f"registries: {rule.name} has only-mirrors but no mirrors")


def _is_location(text: str) -> bool:
    """HOST[:PORT][/PATH], in which names can be made."""
    try:
        return parse(f"{_qualified(text)}/x/x").name == f"{_qualified(text)}/x/x"
    except Invalid:
        return False


def _qualified(text: str) -> str:
    """A host without dot and port is one here, if nowhere else."""
    host, slash, path = text.partition("/")
    return host + ":80" * (not set(host) & set(".:") and bool(host)) + slash + path


def _joined(path: str, rest: str) -> str:
    return "/".join(part for part in (path, rest) if part)


def _without_path(url: str) -> str:
    if "/" in url.rstrip("/").partition("://")[2]:
        raise Invalid(f"registry mirror {url!r} is no http:// or https:// URL of a host; 'registries' takes paths")
    return url
