"""What the configuration says about registries and proxies, checked, for the registry client.

"registries": {"quay.io": {"mirrors": ["https://cache.lan/quay"], "only-mirrors": false},
               "quay.io/team": {"location": "registry.lan:5000/team"}}
"proxies":    {"http-proxy": URL, "https-proxy": URL, "no-proxy": "a.example,10.0.0.0/8"}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from corten.daemon.config import Config
from corten.errors import Invalid
from corten.registry.client.endpoints import Endpoints
from corten.registry.client.proxies import Proxies, from_environment
from corten.registry.client.registry import Settings
from corten.registry.client.sources import Rule, Sources

_RULE = frozenset({"mirrors", "location", "only-mirrors"})
_PROXIES = frozenset({"http-proxy", "https-proxy", "no-proxy"})


def settings(config: Config, environ: Mapping[str, str] = os.environ) -> Settings:
    """The registry client's settings. Raises Invalid with the name of what cannot be used."""
    found = Settings(
        insecure=config.insecure_registries,
        mirrors=config.registry_mirrors,
        rules=tuple(_rule(name, entry) for name, entry in config.registries.items()),
        downloads=_count("max-concurrent-downloads", config.max_concurrent_downloads, 3),
        uploads=_count("max-concurrent-uploads", config.max_concurrent_uploads, 5),
        attempts=_count("max-download-attempts", config.max_download_attempts, 5),
        proxies=proxies(config, environ),
    )
    Sources(Endpoints(found.insecure, ()), found.rules, found.mirrors)
    return found


def proxies(config: Config, environ: Mapping[str, str] = os.environ) -> Proxies:
    """What the configuration has goes before the environment."""
    unknown = sorted(set(config.proxies) - _PROXIES)
    if unknown:
        raise Invalid(f"proxies: unknown keys: {', '.join(unknown)}")
    own = {**config.proxies}
    for key, value in (
        ("http-proxy", config.http_proxy),
        ("https-proxy", config.https_proxy),
        ("no-proxy", config.no_proxy),
    ):
        if value:
            own[key] = value
    if not all(isinstance(value, str) for value in own.values()):
        raise Invalid("proxies: a value is no string")
    outside = from_environment(environ)
    return Proxies(
        own.get("http-proxy") or outside.http,
        own.get("https-proxy") or outside.https,
        own.get("no-proxy") or outside.none,
    )


def _rule(name: str, entry: Any) -> Rule:
    if not isinstance(entry, dict):
        raise Invalid(f"registries: {name} is no object")
    if unknown := sorted(set(entry) - _RULE):
        raise Invalid(f"registries: {name} has unknown keys: {', '.join(unknown)}")
    mirrors, location = entry.get("mirrors") or [], entry.get("location") or ""
    if not isinstance(mirrors, list) or not all(isinstance(url, str) for url in mirrors):
        raise Invalid(f"registries: mirrors of {name} is no list of URLs")
    if not isinstance(location, str) or not isinstance(entry.get("only-mirrors", False), bool):
        raise Invalid(f"registries: {name} has a value of the wrong type")
    return Rule(name, tuple(mirrors), location, bool(entry.get("only-mirrors")))


def _count(name: str, value: int, default: int) -> int:
    """0 stands for the default, as dockerd has it."""
    if value < 0:
        raise Invalid(f"invalid {name.replace('-', ' ')}: {value}")
    return value or default
