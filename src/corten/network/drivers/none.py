"""The driver "null": nothing but the loopback device, of a namespace that the container has to itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from corten.kernel.netlink import Request
from corten.kernel.rtnetlink import IPAddress
from corten.network.definition import Definition
from corten.network.driver import ActiveNetwork, Namespace, Reachability
from corten.network.drivers.unwatched import UnwatchedDriver
from corten.network.endpoint import Endpoint
from corten.network.interface import InterfaceSpec


class NoneDriver(UnwatchedDriver):
    """`driver.Driver`: an endpoint is known to be there, and that is all."""

    reachability = Reachability(addresses=False)
    predefined_only = True

    def check(self, definition: Definition) -> None:
        return

    def device(self, definition: Definition) -> str:
        return ""

    def restore(self, networks: Sequence[ActiveNetwork]) -> None:
        return

    def ensure(self, network: ActiveNetwork) -> None:
        return

    async def remove(self, network: ActiveNetwork) -> None:
        return

    def attach(self, network: ActiveNetwork, endpoint: Endpoint, spec: InterfaceSpec, namespace: Namespace) -> Endpoint:
        return endpoint

    def detach(self, endpoint: Endpoint, release: Callable[[], None], namespace: Namespace | None) -> None:
        release()

    def default_routes(self, definition: Definition, index: int, gateways: Sequence[IPAddress]) -> list[Request]:
        return []

    def sources(self, definition: Definition, version: int) -> tuple[str, ...]:
        return ()
