"""grpc.health.v1.Health, by which gRPC's clients ask whether a server and its services are there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from corten.errors import NotFound
from corten.http2.grpc import Call, Function, begin
from corten.spec.protobuf.session import SERVICE_UNKNOWN, SERVING, HealthCheckRequest, HealthCheckResponse

_PREFIX = "/grpc.health.v1.Health/"


class HealthFace:
    """One for the daemon. `methods` are the paths of all that is served."""

    def __init__(self, methods: Iterable[str]) -> None:
        self._services = {"", *(method.split("/")[1] for method in methods)}

    def functions(self) -> dict[str, Function]:
        return {_PREFIX + "Check": self.check, _PREFIX + "Watch": self.watch}

    async def check(self, call: Call) -> bytes:
        """Raises NotFound for a service that is none."""
        service = HealthCheckRequest.decode(await call.request()).service
        if service not in self._services:
            raise NotFound(f"unknown service {service[:100]!r}")
        return HealthCheckResponse(SERVING).encode()

    async def watch(self, call: Call) -> None:
        """Says it once, because it does not change; the stream ends with its client."""
        service = HealthCheckRequest.decode(await call.request()).service
        begin(call.stream)
        await call.send(HealthCheckResponse(SERVING if service in self._services else SERVICE_UNKNOWN).encode())
        await asyncio.get_running_loop().create_future()
