"""Kubernetes' Container Runtime Interface: a face in a process of its own, without state.

    server       the socket, the configuration, the process
    runtime      runtime.v1.RuntimeService
    images       runtime.v1.ImageService
    stats        counters of containers and pods, events
    streaming    exec, attach and port-forward over HTTP
    daemon       requests to the daemon, whose records all of it are

Each call is decoded, asked of the daemon by REST, and answered. Killed, it is started again: nothing is lost but the
streams that go through it.
"""

from corten.http import authorities as authorities  # before anything imports aiohttp
