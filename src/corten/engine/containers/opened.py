"""The files of a container in a guest that does not run: a guest whose program is never started has them mounted.

The host never mounts a file system that a guest has written.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from corten.engine.containers import files as container_files
from corten.engine.containers import guests, run
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.errors import Conflict, CortenError
from corten.plan import bundle
from corten.plan.document import container_spec
from corten.plan.isolation import facts_for
from corten.tasks.contract import LogFile, Task

log = logging.getLogger(__name__)

_NEVER_STARTED = ("/proc/self/exe",)  # but looked for: an image may have no program that is known


@asynccontextmanager
async def opened(containers: Containers, container: Container) -> AsyncIterator[Task]:
    """A task for work on its tree alone. The caller holds the lock. Raises as a start does; Conflict for a container
    that is being removed."""
    if container.gone:
        raise Conflict(f"container {container.id} is being removed")
    await container.torn_down()
    async with container.lend(), AsyncExitStack() as held:
        task = await _made(containers, container, held)
        try:
            yield task
        finally:
            await _end(task)


async def _made(containers: Containers, container: Container, held: AsyncExitStack) -> Task:
    """What the container is started as is left out of its specification: it need not be right."""
    record, settings = container.record, containers.configuration.settings
    facts = facts_for(record.host_config, containers.configuration.facts)
    await container_files.prepare(container, bundle.root_owner(record.host_config, facts))
    inputs = run.inputs(containers, container, {}, None, record.mounts, {})
    config = record.config.replace(
        cmd=[*_NEVER_STARTED], entrypoint=None, user="", working_dir="/", tty=False, open_stdin=False
    )
    spec = container_spec(replace(inputs, config=config, seccomp=None), facts)
    run.write_spec(container, spec)
    made = run.make_bundle(container, settings, rootfs=guests.rootfs())
    guest = await guests.guest(containers.stores, container, spec, (), -1, held, lambda: None)
    made = replace(
        made,
        cgroup=spec["linux"]["cgroupsPath"],
        clone_namespaces=bundle.clone_namespaces(spec),
        log=LogFile(None),
        terminal=False,
        open_stdin=False,
        guest=guest,
    )
    return await containers.runtime.create(made)


async def _end(task: Task) -> None:
    """What was written is on the disk before the guest ends."""
    try:
        await task.signal(signal.SIGKILL)
        await task.wait()
    except CortenError as error:
        log.warning("a guest that showed the files of container %s is killed: %s", task.id, error)
        await task.destroy()
    finally:
        await task.delete()
