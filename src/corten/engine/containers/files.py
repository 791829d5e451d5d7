"""The files that the engine writes for a container: hostname, hosts and resolv.conf, bound over its own.

A container can hold up those who touch its files: by a write of its own, during which the kernel keeps the inode
locked for as long as the disk takes, or by a lease. So once it has run, they are written in a thread of its own, and
what takes too long is given up.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from corten.aio.threads import alone
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.damage import whole
from corten.engine.containers.links import host_rows
from corten.errors import CortenError, Unavailable
from corten.instance.contract import Refresh
from corten.kernel.full_disk import writing
from corten.plan.isolation import guest_of

log = logging.getLogger(__name__)

NAMES = ("hostname", "hosts", "resolv.conf")
Texts = Mapping[str, bytes]  # by name

_AT_START = 10.0  # seconds
_WHILE_RUNNING = 1.0  # seconds
# A lease on a file (fcntl(2)) is the right to hold up those who open it, for 45 s: we do not wait (EWOULDBLOCK).
_NOW = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


async def prepare(container: Container, owner: tuple[int, int] = (0, 0)) -> None:
    """Everything that is bound has to be there before the network is known; `write_network` fills it.

    The files belong to `owner`, the host's ids of the container's root. Raises Unavailable when other processes keep
    the kernel from writing them.
    """

    def write() -> None:
        for name in NAMES:
            fd = _open(container, name)
            try:
                os.fchmod(fd, 0o644)  # users of the container read them; the daemon's umask is private
                if owner != (0, 0):
                    os.fchown(fd, *owner)
            finally:
                os.close(fd)
        _write(container, {"hostname": f"{container.record.config.hostname}\n".encode()})

    await _at_start(container, write)


async def write_network(containers: Containers, container: Container) -> None:
    """hosts and resolv.conf for the addresses that the container got, at its start. Errors as of `prepare`."""
    texts = network_texts(containers, container)
    await _at_start(container, lambda: _write(container, texts))


async def _at_start(container: Container, write: Callable[[], None]) -> None:
    """No process has had a container's files before its first start."""
    try:
        with whole(container):
            if not container.record.state.started_at:
                write()
            else:
                await alone(write, _AT_START)
    except TimeoutError:
        raise Unavailable(f"the files of container {container.id} cannot be written: processes hold them up") from None


async def rewrite_network(containers: Containers, running: Iterable[Container]) -> None:
    """`write_network` for containers that run. What cannot be written at once stays as it was, and is in the log: it
    may be leased, executed (ETXTBSY), or being written by the container."""
    writing = {
        containers.watching.spawn(
            _rewrite(container, network_texts(containers, container)), f"hosts and resolv.conf of {container.id}"
        ): container
        for container in running
    }
    if not writing:
        return
    _, late = await asyncio.wait(writing, timeout=_WHILE_RUNNING)
    for task in late:
        log.warning("container %s writes to its hosts or resolv.conf: they are written later", writing[task].id)


async def _rewrite(container: Container, texts: Texts) -> None:
    """One thread for each container: while one waits, only the newest texts are kept."""
    if container.rewriting is not None:
        container.rewriting = texts
        return
    container.rewriting = texts
    try:
        while True:
            texts = container.rewriting
            await alone(partial(_write, container, texts))
            if guest_of(container.record.host_config) and container.task is not None:
                await container.task.change_network(Refresh())
            if container.rewriting is texts:
                return
    except (OSError, CortenError) as error:
        log.warning("container %s keeps its hosts and resolv.conf as they were: %s", container.id, error)
    finally:
        container.rewriting = None


def network_texts(containers: Containers, container: Container) -> Texts:
    """hosts and resolv.conf. A container in the network of another one has that one's, as long as it is there."""
    container = containers.by_id.get(container.record.sandbox, container)
    config, host = container.record.config, container.record.host_config
    networks, endpoints = containers.networks, list(container.endpoints.values())
    linked = host_rows(containers, container)
    hosts = networks.hosts_file(endpoints, config.hostname, config.domainname, host.extra_hosts or (), linked)
    resolv_conf = networks.resolv_conf(endpoints, host.dns or (), host.dns_search or (), host.dns_options or ())
    return {"hosts": hosts.encode(), "resolv.conf": resolv_conf.encode()}


def _write(container: Container, texts: Texts) -> None:
    """All of them, also when one cannot be written; raises the last OSError."""
    failed: OSError | None = None
    for name, data in texts.items():
        try:
            _put(container, name, data)
        except OSError as error:
            failed = error
    if failed is not None:
        raise failed


def _put(container: Container, name: str, data: bytes) -> None:
    """Rewritten in place: a bind mount holds the inode. The bundle is the engine's own, so its names are ours.

    Truncated behind, not emptied before: ext4 takes that for a replacement and waits with its close for the disk.
    """
    fd = _open(container, name)
    try:
        with writing(_path(container, name)):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            if os.fstat(fd).st_size > len(data):
                os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def _open(container: Container, name: str) -> int:
    return os.open(_path(container, name), os.O_WRONLY | os.O_CREAT | _NOW, 0o644)


def _path(container: Container, name: str) -> str:
    return f"{container.bundle}/{name}"
