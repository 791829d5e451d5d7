"""Restarting a container that a client names: a stop, then a start."""

from __future__ import annotations

from contextlib import suppress

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.start import start
from corten.engine.containers.stop import stop
from corten.errors import NotModified


async def restart(
    containers: Containers, container: Container, seconds: int | None = None, signal_text: str = ""
) -> dict[str, float]:
    """Arguments and errors of `stop`, answer and errors of `start`; one that does not run is only started.

    With --rm it is removed at the next end, or when it cannot be started.
    """
    with container.restart_by_a_client():
        with suppress(NotModified):
            await stop(containers, container, seconds, signal_text)
        timing = await start(containers, container)
    containers.publish(container, "restart")
    return timing
