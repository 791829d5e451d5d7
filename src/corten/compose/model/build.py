"""How the image of a service is built."""

from __future__ import annotations

from collections.abc import Mapping

from corten.compose.model.files import FileReference
from corten.compose.model.scalars import Bytes
from corten.compose.model.struct import Struct


class Ulimit(Struct, frozen=True, kw_only=True):
    """Either `single`, which is both limits, or `soft` and `hard`."""

    single: int = 0
    soft: int = 0
    hard: int = 0


class SshKey(Struct, frozen=True, kw_only=True):
    """An agent's socket or a key; both `id` alone ("default") are the user's agent."""

    id: str = ""
    path: str = ""


class Build(Struct, frozen=True, kw_only=True):
    context: str = ""
    """An absolute path, or a URL."""
    dockerfile: str = ""
    """Relative to the context, or absolute; "" only beside `dockerfile_inline`."""
    dockerfile_inline: str = ""
    """The text itself."""
    entitlements: tuple[str, ...] = ()
    args: Mapping[str, str | None] = {}
    """None: neither the file nor the environment has a value; the Dockerfile's default stays."""
    provenance: str = ""
    sbom: str = ""
    ssh: tuple[SshKey, ...] = ()
    labels: Mapping[str, str] = {}
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    no_cache: bool = False
    additional_contexts: Mapping[str, str] = {}
    """Name to a path, a URL, docker-image://REF or service:NAME."""
    pull: bool = False
    extra_hosts: Mapping[str, tuple[str, ...]] = {}
    """Name to its addresses."""
    isolation: str = ""
    network: str = ""
    target: str = ""
    secrets: tuple[FileReference, ...] = ()
    shm_size: Bytes = Bytes(0)
    tags: tuple[str, ...] = ()
    ulimits: Mapping[str, Ulimit] = {}
    platforms: tuple[str, ...] = ()
    privileged: bool = False
