"""Restarting a container that a client names: a stop, then a start."""

from __future__ import annotations

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
    container.starts_again = True
    try:
        await stop(containers, container, seconds, signal_text)
    except NotModified:
        pass
    finally:
        container.starts_again = False
    timing = await start(containers, container)
    containers.publish(container, "restart")
    return timing
