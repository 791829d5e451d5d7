"""The files that the engine writes for a container: hostname, hosts and resolv.conf, bound over its own."""

from __future__ import annotations

import logging
import os

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.links import host_entries
from corten.plan.namespaces import joins

log = logging.getLogger(__name__)

_MOST = 1 << 20  # bytes
# A lease on a file (fcntl(2)) is the right to hold up those who open it, for 45 s: we do not wait (EWOULDBLOCK).
_NOW = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare(container: Container, owner: tuple[int, int] = (0, 0)) -> None:
    """Everything that is bound has to be there before the network is known; `write_network` fills it.

    The files belong to `owner`, whom the container's root is on the host.
    """
    _put(container, "hostname", f"{container.record.config.hostname}\n".encode())
    for name in ("hosts", "resolv.conf"):
        os.close(_open(container, name))
    for name in ("hostname", "hosts", "resolv.conf"):  # users of the container read them; the daemon's umask is private
        os.chmod(container.bundle / name, 0o644)
    if owner != (0, 0):
        for name in ("hostname", "hosts", "resolv.conf"):
            os.chown(container.bundle / name, *owner, follow_symlinks=False)


def rewrite_network(containers: Containers, container: Container) -> None:
    """`write_network` for a container that runs already: what it does with its own files concerns no other one.

    It may have a lease on one, or execute it (ETXTBSY).
    """
    try:
        write_network(containers, container)
    except OSError as error:
        log.warning("container %s keeps its hosts and resolv.conf as they were: %s", container.id, error)


def write_network(containers: Containers, container: Container) -> None:
    """hosts and resolv.conf for the addresses that the container got; in place, because they are bound already."""
    config, host = container.record.config, container.record.host_config
    if name := joins(host.network_mode):
        other = containers.get(name)
        for file in ("hosts", "resolv.conf"):
            _put(container, file, _read(other, file))
        return
    networks, endpoints = containers.parts.networks, list(container.endpoints.values())
    names = (config.hostname, config.domainname)
    extra = [*(host.extra_hosts or ()), *host_entries(containers, container)]
    _put(container, "hosts", networks.hosts_file(endpoints, *names, extra).encode())
    servers, search, options = host.dns or (), host.dns_search or (), host.dns_options or ()
    _put(container, "resolv.conf", networks.resolv_conf(endpoints, servers, search, options).encode())


def _read(container: Container, name: str) -> bytes:
    """What its container may have written there is anything, of any size: the rest is left out."""
    with open(os.open(container.bundle / name, os.O_RDONLY | _NOW), "rb") as file:
        return file.read(_MOST)


def _put(container: Container, name: str, data: bytes) -> None:
    """Rewritten in place: a bind mount holds the inode. The bundle is the engine's own, so nobody swaps the name.

    Cut off behind, not emptied before: ext4 takes that for a replacement and waits with its close for the disk.
    """
    fd = _open(container, name)
    try:
        os.write(fd, data)
        if os.fstat(fd).st_size > len(data):
            os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def _open(container: Container, name: str) -> int:
    return os.open(f"{container.bundle}/{name}", os.O_WRONLY | os.O_CREAT | _NOW, 0o644)
