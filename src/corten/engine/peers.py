"""The nouns that containers ask for: images and networks, as far as a container's life needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from corten.engine.seams import Json, Namespace


class Image(Protocol):
    """One image of the store. `chain_id` names the snapshot of its layers; None for an image without layers."""

    @property
    def id(self) -> str: ...
    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def chain_id(self) -> str | None: ...
    @property
    def repo_tags(self) -> Sequence[str]: ...
    @property
    def size(self) -> int: ...


class Images(Protocol):
    def resolve(self, reference: str) -> Image:
        """The image of a name, an id or the start of one. NotFound with Docker's words."""


class Endpoint(Protocol):
    """A container's place in a network. `settings` is Docker's EndpointSettings, `ports` its NetworkSettings.Ports."""

    @property
    def settings(self) -> Json: ...
    @property
    def ports(self) -> Json: ...
    @property
    def record(self) -> Json:
        """What `adopt` needs to know this endpoint again in a later daemon."""


class Networks(Protocol):
    async def connect(
        self,
        network: str,
        container_id: str,
        namespace: Namespace,
        settings: Json,
        port_bindings: Json,
        exposed: Sequence[str],
        publish_all: bool,
        names: Sequence[str],
        index: int,
    ) -> Endpoint: ...

    async def disconnect(self, endpoint: Endpoint) -> None: ...

    async def adopt(self, record: Json, container_id: str) -> Endpoint:
        """The endpoint of a run that outlived an earlier daemon."""
