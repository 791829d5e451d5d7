"""A connection to a port of a pod, in the pod's network, as port-forward needs it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

from corten.engine.pods.pods import Pod, Pods
from corten.errors import Conflict, Failed, Invalid, NotFound

_PATIENCE = 10.0  # seconds
_LOCAL = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


async def dial(pods: Pods, pod: Pod, port: int) -> socket.socket:
    """To what listens at the pod's own loopback, IPv4 first. Raises Conflict when the pod does not run, Failed when
    nothing listens, Invalid."""
    if not 0 < port < 65536:
        raise Invalid(f"invalid port {port}")
    if pod.record.guest:
        return await _in_guest(pods, pod, port)
    reason: Exception | None = None
    sockets = [socket.socket(fileno=fd) for fd in await _sockets(pods, pod)]
    try:
        for sock in list(sockets):
            sock.setblocking(False)
            try:
                async with asyncio.timeout(_PATIENCE):
                    await asyncio.get_running_loop().sock_connect(sock, (_LOCAL[sock.family], port))
            except (OSError, TimeoutError) as error:
                reason = reason or error
                continue
            sockets.remove(sock)
            return sock
    finally:
        for sock in sockets:
            sock.close()
    raise Failed(f"cannot connect to port {port} of pod {pod.id}: {reason}") from reason


async def _in_guest(pods: Pods, pod: Pod, port: int) -> socket.socket:
    """By the container that runs: the loopback of its guest is the pod's."""
    task = next((each.task for each in pods.members(pod) if each.task is not None), None)
    if task is None:
        raise Conflict(f"no container of pod {pod.id} runs: its guest is there as long as one does")
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            await task.dial(port, theirs.fileno())
    except BaseException as error:
        ours.close()
        if isinstance(error, Failed):
            raise Failed(f"cannot connect to port {port} of pod {pod.id}: {error}") from error
        raise
    ours.setblocking(False)
    return ours


async def _sockets(pods: Pods, pod: Pod) -> tuple[int, ...]:
    if pod.record.on_host:
        return (socket.socket(socket.AF_INET, socket.SOCK_STREAM).detach(),)
    try:
        if pod.record.state != "ready":
            raise NotFound("it is stopped")
        namespace = await pods.containers.sandboxes.open(pod.id)
    except NotFound as error:
        raise Conflict(f"pod {pod.id} does not run") from error
    with closing(namespace):
        return await pods.containers.namespaces.dial_sockets(namespace)
