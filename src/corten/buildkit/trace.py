"""Events of a build as BuildKit's messages (moby.buildkit.v1.StatusResponse)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence

from corten.build.contract import Event, Log, Status, Vertex, Warning
from corten.spec.protobuf import control as m

_LOGS = 1 << 20  # bytes of logs in one message: clients take 4 MiB


def messages(events: Iterable[Event | m.VertexWarning], job: str = "") -> Iterator[m.StatusResponse]:
    """As few as may be. A client may follow several jobs in one display, which tells vertices apart by their digests:
    those of each job are made its own."""
    found, size = m.StatusResponse(), 0
    for event in events:
        if isinstance(event, Log):
            size += len(event.data)
        if size > _LOGS:
            yield found
            found, size = m.StatusResponse(), 0
        _add(found, event, job)
    if found.vertexes or found.statuses or found.logs or found.warnings:
        yield found


def digest_in(job: str, digest: str) -> str:
    return "sha256:" + hashlib.sha256(f"{job} {digest}".encode()).hexdigest() if job else digest


def _add(found: m.StatusResponse, event: Event | m.VertexWarning, job: str) -> None:
    match event:
        case m.VertexWarning():  # a client's own, about a vertex as it knows it
            found.warnings.append(event)
        case Vertex():
            found.vertexes.append(
                m.Vertex(
                    digest_in(job, event.digest),
                    [digest_in(job, each) for each in event.inputs],
                    event.name,
                    event.cached,
                    _time(event.started),
                    _time(event.completed),
                    event.error,
                )
            )
        case Status():
            now, times = _time(event.at or time.time()), (_time(event.started), _time(event.completed))
            found.statuses.append(
                m.VertexStatus(event.id, digest_in(job, event.vertex), "", event.current, event.total, now, *times)
            )
        case Log():
            at = _time(event.at or time.time())
            found.logs.append(m.VertexLog(digest_in(job, event.vertex), at, event.stream, event.data))
        case Warning():
            found.warnings.append(
                m.VertexWarning(
                    vertex=digest_in(job, event.vertex),
                    level=1,
                    short=f"{event.rule}: {event.message}".encode(),
                    url=event.url,
                    ranges=ranges([event.lines] if event.lines[0] else []),
                )
            )


def ranges(lines: Sequence[tuple[int, int]]) -> list[m.Range]:
    return [m.Range(m.Position(first), m.Position(last)) for first, last in lines]


def _time(seconds: float) -> m.Timestamp | None:
    return m.Timestamp.of(seconds) if seconds else None
