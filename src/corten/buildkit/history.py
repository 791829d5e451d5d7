"""The history of builds as BuildKit's clients ask for it: Control.ListenBuildHistory, UpdateBuildHistory."""

from __future__ import annotations

import time
from collections.abc import Iterator

from corten.build.builds import Builds
from corten.build.history.record import FAILURE, Attached, BuildRecord
from corten.build.history.record import Output as Asked
from corten.http2.grpc import CANCELLED, UNKNOWN, Call, Function, begin
from corten.spec.docker import times
from corten.spec.protobuf import control as m

_PREFIX = "/moby.buildkit.v1.Control/"
_MEDIA_TYPE, _KIND = "application/vnd.in-toto+json", "in-toto.io/predicate-type"
_NOW = "buildkit-current-timestamp"
_TYPES = {"started": m.STARTED, "complete": m.COMPLETE, "deleted": m.DELETED}


class HistoryFace:
    """One for the daemon."""

    def __init__(self, builds: Builds) -> None:
        self._builds = builds

    def functions(self) -> dict[str, Function]:
        return {_PREFIX + "ListenBuildHistory": self.listen, _PREFIX + "UpdateBuildHistory": self.update}

    async def listen(self, call: Call) -> None:
        """What there is, newest first, and without `early_exit` what changes from then on. Filters are the client's:
        it looks at what comes once more."""
        request = m.BuildHistoryRequest.decode(await call.request())
        with self._builds.history.listening() as changes:  # first: what is sent may have to wait for its client
            begin(call.stream, [(_NOW, times.rfc3339(time.time_ns()))])
            for record in self._chosen(request):
                kind = m.COMPLETE if record.completed else m.STARTED
                await call.send(m.BuildHistoryEvent(kind, shown(record)).encode())
            if request.early_exit:
                return
            async for change, record in changes:
                if request.ref in ("", record.ref):
                    await call.send(m.BuildHistoryEvent(_TYPES[change], shown(record)).encode())

    def _chosen(self, request: m.BuildHistoryRequest) -> Iterator[BuildRecord]:
        left = request.limit if request.limit > 0 else len(self._builds.history.all())
        for record in self._builds.history.all():
            if left and request.ref in ("", record.ref) and not (request.active_only and record.completed):
                left -= 1
                yield record

    async def update(self, call: Call) -> bytes:
        """Finalizing changes nothing: a record is whole when its build has ended. Raises NotFound, Conflict."""
        request = m.UpdateBuildHistoryRequest.decode(await call.request())
        history = self._builds.history
        record = history.exact(request.ref)
        if request.delete:
            history.remove(record)
        elif not request.finalize:
            history.pin(record, request.pinned)
        return b""


def shown(record: BuildRecord) -> m.BuildHistoryRecord:
    code = CANCELLED if record.state == "canceled" else UNKNOWN
    return m.BuildHistoryRecord(
        ref=record.ref,
        frontend=record.frontend,
        attributes=record.attributes,
        exporters=[_exporter(each) for each in record.outputs],
        error=m.RpcStatus(code, record.error) if record.error else None,
        created=m.Timestamp.of(record.created),
        completed=m.Timestamp.of(record.completed) if record.completed else None,
        answer=record.answer,
        result=_result(record),
        generation=record.generation,
        pinned=record.pinned,
        cached=record.cached,
        total=record.total,
        done=record.done,
        failure=next((m.Descriptor(FAILURE, *_place(each)) for each in record.attached if each.type == FAILURE), None),
        warnings=record.warnings,
    )


def _place(attached: Attached) -> tuple[str, int]:
    return attached.digest, attached.size


def _exporter(output: Asked) -> m.Exporter:
    return m.Exporter(output.type, output.attributes)


def _result(record: BuildRecord) -> m.BuildResultInfo | None:
    predicates = [each for each in record.attached if each.type != FAILURE]
    attached = [m.Descriptor(_MEDIA_TYPE, each.digest, each.size, {_KIND: each.type}) for each in predicates]
    found = record.result
    made = [m.NumberedResult(0, m.Descriptor(found.media_type, found.digest, found.size))] if found else []
    return m.BuildResultInfo(attached, made) if attached or made else None
