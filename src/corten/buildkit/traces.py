"""opentelemetry.proto.collector.trace.v1.TraceService: a client that traces its builds sends what it has measured.
Nothing is done with it; a refusal would be a line of warning in each of its builds."""

from __future__ import annotations

from corten.http2.grpc import Call, Function

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class TraceFace:
    def functions(self) -> dict[str, Function]:
        return {_EXPORT: self.export}

    async def export(self, call: Call) -> bytes:
        """All of it was taken: ExportTraceServiceResponse without a partial success is empty."""
        await call.request()
        return b""
