"""Starting a container that a client names."""

from __future__ import annotations

from corten.engine.containers import lifecycle, removal, run
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers


async def start(containers: Containers, container: Container) -> dict[str, float]:
    """Seconds by phase. Raises NotModified when it runs, Conflict in a state that cannot start, StartFailed.

    The counts of its restart policy begin anew. What it needs to be running and a client restarts is waited for:
    Compose restarts a project's containers side by side.
    """
    for other in (*containers.owners(container), *map(containers.by_id.get, container.record.links.values())):
        if other is not None:
            await other.returned()
    async with container.lock:
        run.check_startable(container)
        container.end_restart()
        container.restart_delay, container.record.restart_count = 0.0, 0
        try:
            timing = await run.start(containers, container)
        except BaseException:
            if container.record.host_config.auto_remove:  # or a client that waits for its removal waits for ever
                await removal.remove_locked(containers, container, volumes=True)
            raise
        lifecycle.keep(containers, container)
        return timing
