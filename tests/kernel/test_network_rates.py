"""Rates where a container's device has no other end on this host."""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from corten.errors import Unsupported
from docker_json import network
from netns import Net
from network_world import World, host, world

_BYTES = 512 * 1024


def seconds(sender: Net, receiver: Net, address: str) -> float:
    """How long half a megabyte takes."""
    server = receiver.listen("0.0.0.0", 80)
    client = sender.connect(address, 80, 5)
    accepted, _ = server.accept()
    client.settimeout(30)
    accepted.settimeout(30)

    def send() -> None:
        client.sendall(bytes(_BYTES))
        client.close()

    begun = time.monotonic()
    sending = threading.Thread(target=send)
    sending.start()
    received = 0
    while data := accepted.recv(65536):
        received += len(data)
    took = time.monotonic() - begun
    sending.join()
    for one in (server, accepted):
        one.close()
    assert received == _BYTES
    return took


async def test_what_arrives_by_macvlan_is_limited(world: World) -> None:
    await world.networks.create(network({"Name": "stack", "Driver": "macvlan"}))
    one, _ = await world.run("one", "stack")
    two, second = await world.run("two", "stack")
    id = second.container_id

    async def took() -> float:
        return await asyncio.to_thread(seconds, one, two, second.address)

    try:
        world.networks.shape(id, "ingress=4mbit", two.namespace)
    except Unsupported as error:
        pytest.skip(str(error))
    assert await took() > 0.9  # 1.05 s, less what may go at once
    world.networks.shape(id, "ingress=8mbit", two.namespace)
    assert await took() > 0.4
    world.networks.shape(id, "none", two.namespace)
    async with asyncio.timeout(60):
        while await took() >= 0.4:  # with a limit it is never quicker, without one a busy machine may be as slow
            pass
    world.networks.shape(id, "ingress=4mbit", two.namespace)
    await world.networks.disconnect(second, two.namespace)
    assert [line.split()[0] for line in two.run("ip", "-br", "link").splitlines()] == ["lo"]
