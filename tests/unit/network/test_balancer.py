"""Ports that containers share, of which several start at once."""

from __future__ import annotations

import asyncio
import ipaddress
from types import SimpleNamespace
from typing import Any, cast

from corten.errors import Failed
from corten.network.balancer import Balancer, Shared
from corten.network.ports import PortRequest, Target


async def test_two_that_come_while_the_port_becomes_free() -> None:
    """The second one shares what the first has taken by then."""
    free, taken, balanced = asyncio.Event(), list[object](), list[object]()

    def take(*asked: object) -> list[object]:
        if taken:
            raise Failed("the port is in use")
        taken.append(asked)
        return []

    async def forward(*_: object) -> None:
        await asyncio.sleep(0)

    firewall = SimpleNamespace(balance=balanced.append)
    balancer = Balancer(
        cast(Any, firewall),
        cast(Any, SimpleNamespace(take=take)),
        cast(Any, SimpleNamespace(settle=free.wait)),
        forward,
    )
    shared = Shared("web", PortRequest(80, "tcp", "", 8080, 8080))
    targets = [Target(name, name, ipaddress.ip_address("172.17.0.2"), None) for name in ("one", "two")]
    joining = [asyncio.ensure_future(balancer.join(shared, each.name, each)) for each in targets]
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(*joining)
    assert len(taken) == 1 and len(balanced) == 2
