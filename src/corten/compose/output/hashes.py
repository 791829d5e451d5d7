"""Hashes by which a changed service is known; equal to those of Docker Compose, so that either client knows the
other's containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from msgspec.structs import replace

from corten.compose.model import Network, Service, Volume
from corten.compose.output.json import compact
from corten.compose.output.plain import json_tree


def _sha256() -> Callable[[bytes], Any]:
    """hashlib loads OpenSSL, which takes longer than to read a project and to hash all of it."""
    for name in ("_sha2", "_sha256"):
        try:
            return cast("Callable[[bytes], Any]", __import__(name).sha256)
        except ImportError:
            continue
    import hashlib

    return hashlib.sha256


_HASH = _sha256()


def service_hash(service: Service) -> str:
    """Over all but what makes no other container: build, pull_policy, scale, replicas, dependencies, profiles."""
    deploy = replace(service.deploy, replicas=None) if service.deploy is not None else None
    counted = replace(service, build=None, pull_policy="", scale=None, deploy=deploy, depends_on={}, profiles=())
    return _hash(compact(json_tree(counted)))


def network_hash(network: Network) -> str:
    return _hash(compact(json_tree(network)))


def volume_hash(volume: Volume) -> str:
    return _hash(compact(json_tree(replace(volume, driver=volume.driver or "local"))))


def _hash(text: str) -> str:
    return str(_HASH(text.encode("utf-8", "surrogatepass")).hexdigest())
