"""The nouns that containers ask for: images and networks, as far as a container's life needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from corten.network.naming import Sockets
from corten.network.ports import PortMap
from corten.spec.docker.networking import EndpointSettings
from corten.spec.image_config import ImageConfig
from corten.spec.json import Json
from corten.tasks.contract import Namespace


class Image(Protocol):
    """One image of the store. `chain_id` names the tree of its layers (None for an image without layers)."""

    @property
    def id(self) -> str: ...
    @property
    def config(self) -> ImageConfig: ...
    @property
    def chain_id(self) -> str | None: ...
    @property
    def repo_tags(self) -> Sequence[str]: ...
    @property
    def size(self) -> int: ...


class Images(Protocol):
    def resolve(self, ref: str) -> Image:
        """The image of a name, an id or the start of one. NotFound with Docker's words."""

    async def provide(self, ref: str) -> Image:
        """`resolve`, and an image that is built in is made when it is not here."""

    after_pull: Callable[[], object]

    def used(self, id: str) -> None:
        """A container of the image `id` was made, or removed."""

    def collect(self) -> None:
        """Take away layers that nothing needs; asked for when a container goes whose image is gone."""


class Endpoint(Protocol):
    """A container's place in a network. `settings` is Docker's EndpointSettings, `ports` its NetworkSettings.Ports."""

    @property
    def settings(self) -> Json: ...
    @property
    def ports(self) -> Json: ...
    @property
    def record(self) -> Json:
        """What `adopt` needs to know this endpoint again in a later daemon."""


class Definition(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


class Network(Protocol):
    @property
    def definition(self) -> Definition: ...


class Networks(Protocol):
    """`corten.engine.networks.Networks` says what each does."""

    on_lost: Callable[[Any], None] | None

    async def connect(
        self,
        network: str,
        container_id: str,
        namespace: Namespace,
        settings: EndpointSettings,
        port_bindings: PortMap,
        exposed: Sequence[str],
        publish_all: bool,
        names: Sequence[str],
        index: int = 0,
    ) -> Endpoint: ...

    def shape(self, container_id: str, limits: str, namespace: Namespace) -> None: ...

    async def disconnect(self, endpoint: Any, namespace: Namespace | None = None) -> None: ...

    def lacks_device(self, endpoint: Any) -> bool: ...

    def reconnect(self, endpoint: Any, namespace: Namespace) -> Endpoint: ...

    async def republish(
        self, container_id: str, adds: PortMap, removes: PortMap, exposed: Sequence[str]
    ) -> Endpoint: ...

    async def adopt(self, record: Json, container_id: str) -> Endpoint: ...

    async def settle(self) -> None: ...

    def on_unnamed(self, call: Callable[[], None]) -> None: ...

    def wants_names(self, container_id: str) -> bool: ...

    async def serve_names(self, container_id: str, sockets: Sockets, servers: Sequence[str] = ()) -> None: ...

    def find(self, reference: str) -> Network: ...

    def validate(self, network: str, settings: EndpointSettings) -> Definition: ...

    def rename(self, container_id: str, name: str) -> None: ...

    def named_endpoints(self, container_id: str) -> Iterable[tuple[str, Endpoint]]: ...

    def hosts_file(
        self, endpoints: Sequence[Any], hostname: str, domainname: str = "", extra: Iterable[str] = ()
    ) -> str: ...

    def resolv_conf(
        self,
        endpoints: Sequence[Any],
        servers: Sequence[str] = (),
        search: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> str: ...
