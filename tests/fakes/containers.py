"""Containers of an engine over the fake runtime, as tests make them."""

from __future__ import annotations

import asyncio
from typing import Any

from corten.engine.containers import start as container_start
from corten.engine.containers import wait as container_wait
from corten.engine.containers.container import Container
from corten.engine.engine import Engine
from docker_json import create


async def make(engine: Engine, *command: str, name: str = "", **host: Any) -> Container:
    config = {"Image": "test", "Cmd": list(command) or ["true"]}
    container, _ = await create(engine, config, host, name)
    return container


async def run(engine: Engine, *command: str, **host: Any) -> Container:
    container = await make(engine, *command, **host)
    await container_start.start(engine.containers, container)
    return container


async def ended(container: Container) -> int:
    """Its exit code."""
    async with asyncio.timeout(60):
        return (await container_wait.future(container, "not-running")).status


def status(container: Container) -> str:
    return container.record.state.status
