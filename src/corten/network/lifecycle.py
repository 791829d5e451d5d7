"""A daemon's networks from its start to its end: what is on record, in the kernel, and in the name server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from corten.network import predefined, subnets
from corten.network.config import NetworkConfig
from corten.network.dataplane import Dataplane
from corten.network.endpoint import Endpoint
from corten.network.forwarder import Forwarder
from corten.network.resolver import Resolver
from corten.network.store import NetworkStore


class Lifecycle:
    """setup, then `Endpoints.adopt` for every container that kept running, then reconcile; close.

    `on_link_lost` is called when another program removed the device of an endpoint.
    """

    def __init__(
        self,
        store: NetworkStore,
        dataplane: Dataplane,
        resolver: Resolver,
        forwarder: Forwarder,
        on_link_lost: Callable[[Endpoint], None],
    ) -> None:
        self._store, self._dataplane = store, dataplane
        self._resolver, self._forwarder = resolver, forwarder
        self._on_link_lost = on_link_lost
        self._preparing: asyncio.Task[None] | None = None

    async def setup(self, config: NetworkConfig) -> None:
        """Records, default bridge, devices, firewall, ip_forward. Leaves running traffic alone.

        Conflict when another daemon uses the same bridge; Failed, Unsupported when the machine cannot do it.
        """
        self._store.load()
        predefined.without_addresses(self._store)
        with subnets.lock():
            predefined.default(self._store, config, self._dataplane.links.route)
            self._dataplane.restore(self._store.values())
        await self._resolver.open()
        await self._forwarder.open()
        if self._store.user_defined():
            self.prepare_resolver()

    def prepare_resolver(self) -> None:
        """What the first container of a user-defined network needs, before it starts. Idempotent."""
        if self._resolver.available and self._preparing is None:
            self._preparing = asyncio.ensure_future(self._resolver.prepare())

    async def reconcile(self) -> None:
        """After the last `adopt`: remove devices and rules that belong to no endpoint, and watch those that do."""
        await self._dataplane.reconcile(self._store.values, self._on_link_lost)
        self._resolver.send_all()

    async def close(self) -> None:
        """What connected containers need stays; without any, nothing stays."""
        self._dataplane.unwatch()
        if self._preparing is not None:
            await self._preparing
        self._resolver.close()
        self._forwarder.close()
        await self._dataplane.settle()
        built = self._store.with_devices()
        if not any(network.endpoints for network in built):
            await self._dataplane.purge(network.device for network in built)
        self._dataplane.close()
