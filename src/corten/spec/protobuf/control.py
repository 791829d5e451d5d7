"""Messages of moby.buildkit.v1 (Control), moby.buildkit.v1.types and moby.buildkit.v1.apicaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from corten.spec.protobuf.codec import Message
from corten.units.durations import SECOND


@dataclass(slots=True)
class Timestamp(Message):
    """google.protobuf.Timestamp"""

    seconds: Annotated[int, 1] = 0
    nanos: Annotated[int, 2] = 0

    @classmethod
    def of(cls, at: float) -> Timestamp:
        """Of seconds since the epoch."""
        return cls(*divmod(int(at * SECOND), SECOND))


@dataclass(slots=True)
class Any(Message):
    """google.protobuf.Any"""

    type_url: Annotated[str, 1] = ""
    value: Annotated[bytes, 2] = b""


@dataclass(slots=True)
class RpcStatus(Message):
    """google.rpc.Status"""

    code: Annotated[int, 1] = 0
    message: Annotated[str, 2] = ""
    details: Annotated[list[Any], 3] = field(default_factory=list)


# ------------------------------------------------------------------------------------------------------------- status


@dataclass(slots=True)
class Vertex(Message):
    digest: Annotated[str, 1] = ""
    inputs: Annotated[list[str], 2] = field(default_factory=list)
    name: Annotated[str, 3] = ""
    cached: Annotated[bool, 4] = False
    started: Annotated[Timestamp | None, 5] = None
    completed: Annotated[Timestamp | None, 6] = None
    error: Annotated[str, 7] = ""


@dataclass(slots=True)
class VertexStatus(Message):
    id: Annotated[str, 1] = ""
    vertex: Annotated[str, 2] = ""
    name: Annotated[str, 3] = ""
    current: Annotated[int, 4] = 0
    total: Annotated[int, 5] = 0
    timestamp: Annotated[Timestamp | None, 6] = None
    started: Annotated[Timestamp | None, 7] = None
    completed: Annotated[Timestamp | None, 8] = None


@dataclass(slots=True)
class VertexLog(Message):
    vertex: Annotated[str, 1] = ""
    timestamp: Annotated[Timestamp | None, 2] = None
    stream: Annotated[int, 3] = 0
    data: Annotated[bytes, 4] = b""


@dataclass(slots=True)
class Position(Message):
    line: Annotated[int, 1] = 0
    character: Annotated[int, 2] = 0


@dataclass(slots=True)
class Range(Message):
    start: Annotated[Position | None, 1] = None
    end: Annotated[Position | None, 2] = None


@dataclass(slots=True)
class VertexWarning(Message):
    vertex: Annotated[str, 1] = ""
    level: Annotated[int, 2] = 0
    short: Annotated[bytes, 3] = b""
    detail: Annotated[list[bytes], 4] = field(default_factory=list)
    url: Annotated[str, 5] = ""
    ranges: Annotated[list[Range], 7] = field(default_factory=list)


@dataclass(slots=True)
class StatusResponse(Message):
    vertexes: Annotated[list[Vertex], 1] = field(default_factory=list)
    statuses: Annotated[list[VertexStatus], 2] = field(default_factory=list)
    logs: Annotated[list[VertexLog], 3] = field(default_factory=list)
    warnings: Annotated[list[VertexWarning], 4] = field(default_factory=list)


@dataclass(slots=True)
class StatusRequest(Message):
    ref: Annotated[str, 1] = ""


# -------------------------------------------------------------------------------------------------------------- solve


@dataclass(slots=True)
class Definition(Message):
    """pb.Definition: operations as bytes, as their digests are of those."""

    operations: Annotated[list[bytes], 1] = field(default_factory=list)
    metadata: Annotated[dict[str, bytes], 2] = field(default_factory=dict)


@dataclass(slots=True)
class Exporter(Message):
    type: Annotated[str, 1] = ""
    attributes: Annotated[dict[str, str], 2] = field(default_factory=dict)


@dataclass(slots=True)
class CacheEntry(Message):
    """CacheOptionsEntry"""

    type: Annotated[str, 1] = ""
    attributes: Annotated[dict[str, str], 2] = field(default_factory=dict)


@dataclass(slots=True)
class CacheOptions(Message):
    exports: Annotated[list[CacheEntry], 4] = field(default_factory=list)
    imports: Annotated[list[CacheEntry], 5] = field(default_factory=list)


@dataclass(slots=True)
class SolveRequest(Message):
    ref: Annotated[str, 1] = ""
    definition: Annotated[Definition | None, 2] = None
    exporter: Annotated[str, 3] = ""  # of clients before there could be several
    exporter_attributes: Annotated[dict[str, str], 4] = field(default_factory=dict)
    session: Annotated[str, 5] = ""
    frontend: Annotated[str, 6] = ""
    attributes: Annotated[dict[str, str], 7] = field(default_factory=dict)
    cache: Annotated[CacheOptions | None, 8] = None
    entitlements: Annotated[list[str], 9] = field(default_factory=list)
    inputs: Annotated[dict[str, Definition], 10] = field(default_factory=dict)
    internal: Annotated[bool, 11] = False
    exporters: Annotated[list[Exporter], 13] = field(default_factory=list)


@dataclass(slots=True)
class SolveResponse(Message):
    answer: Annotated[dict[str, str], 1] = field(default_factory=dict)


# -------------------------------------------------------------------------------------------- workers, usage and prune


@dataclass(slots=True)
class Platform(Message):
    """pb.Platform"""

    architecture: Annotated[str, 1] = ""
    os: Annotated[str, 2] = ""
    variant: Annotated[str, 3] = ""


@dataclass(slots=True)
class BuildkitVersion(Message):
    package: Annotated[str, 1] = ""
    version: Annotated[str, 2] = ""
    revision: Annotated[str, 3] = ""


@dataclass(slots=True)
class WorkerRecord(Message):
    id: Annotated[str, 1] = ""
    labels: Annotated[dict[str, str], 2] = field(default_factory=dict)
    platforms: Annotated[list[Platform], 3] = field(default_factory=list)
    version: Annotated[BuildkitVersion | None, 5] = None


@dataclass(slots=True)
class ListWorkersResponse(Message):
    records: Annotated[list[WorkerRecord], 1] = field(default_factory=list)


@dataclass(slots=True)
class InfoResponse(Message):
    version: Annotated[BuildkitVersion | None, 1] = None


@dataclass(slots=True)
class UsageRecord(Message):
    id: Annotated[str, 1] = ""
    mutable: Annotated[bool, 2] = False
    in_use: Annotated[bool, 3] = False
    size: Annotated[int, 4] = 0
    created: Annotated[Timestamp | None, 6] = None
    used: Annotated[Timestamp | None, 7] = None
    count: Annotated[int, 8] = 0
    description: Annotated[str, 9] = ""
    type: Annotated[str, 10] = ""
    shared: Annotated[bool, 11] = False
    parents: Annotated[list[str], 12] = field(default_factory=list)


@dataclass(slots=True)
class DiskUsageRequest(Message):
    filter: Annotated[list[str], 1] = field(default_factory=list)


@dataclass(slots=True)
class DiskUsageResponse(Message):
    records: Annotated[list[UsageRecord], 1] = field(default_factory=list)


@dataclass(slots=True)
class PruneRequest(Message):
    """`keep_duration` in nanoseconds, the others in bytes."""

    filter: Annotated[list[str], 1] = field(default_factory=list)
    all: Annotated[bool, 2] = False
    keep_duration: Annotated[int, 3] = 0
    reserved_space: Annotated[int, 4] = 0
    max_used_space: Annotated[int, 5] = 0
    min_free_space: Annotated[int, 6] = 0


@dataclass(slots=True)
class Capability(Message):
    """moby.buildkit.v1.apicaps.APICap"""

    id: Annotated[str, 1] = ""
    enabled: Annotated[bool, 2] = False


# ------------------------------------------------------------------------------------------------------------- history

STARTED, COMPLETE, DELETED = 0, 1, 2  # BuildHistoryEventType


@dataclass(slots=True)
class Descriptor(Message):
    media_type: Annotated[str, 1] = ""
    digest: Annotated[str, 2] = ""
    size: Annotated[int, 3] = 0
    annotations: Annotated[dict[str, str], 5] = field(default_factory=dict)


@dataclass(slots=True)
class NumberedResult(Message):
    """An entry of the map `BuildResultInfo.results`: the number of an output, and what it is."""

    number: Annotated[int, 1] = 0
    descriptor: Annotated[Descriptor | None, 2] = None


@dataclass(slots=True)
class BuildResultInfo(Message):
    attestations: Annotated[list[Descriptor], 2] = field(default_factory=list)
    results: Annotated[list[NumberedResult], 3] = field(default_factory=list)


@dataclass(slots=True)
class BuildHistoryRecord(Message):
    ref: Annotated[str, 1] = ""
    frontend: Annotated[str, 2] = ""
    attributes: Annotated[dict[str, str], 3] = field(default_factory=dict)
    exporters: Annotated[list[Exporter], 4] = field(default_factory=list)
    error: Annotated[RpcStatus | None, 5] = None
    created: Annotated[Timestamp | None, 6] = None
    completed: Annotated[Timestamp | None, 7] = None
    answer: Annotated[dict[str, str], 9] = field(default_factory=dict)
    result: Annotated[BuildResultInfo | None, 10] = None
    generation: Annotated[int, 12] = 0
    pinned: Annotated[bool, 14] = False
    cached: Annotated[int, 15] = 0
    total: Annotated[int, 16] = 0
    done: Annotated[int, 17] = 0
    failure: Annotated[Descriptor | None, 18] = None
    warnings: Annotated[int, 19] = 0


@dataclass(slots=True)
class BuildHistoryRequest(Message):
    active_only: Annotated[bool, 1] = False
    ref: Annotated[str, 2] = ""
    early_exit: Annotated[bool, 3] = False
    filters: Annotated[list[str], 4] = field(default_factory=list)
    limit: Annotated[int, 5] = 0


@dataclass(slots=True)
class BuildHistoryEvent(Message):
    type: Annotated[int, 1] = STARTED
    record: Annotated[BuildHistoryRecord | None, 2] = None


@dataclass(slots=True)
class UpdateBuildHistoryRequest(Message):
    ref: Annotated[str, 1] = ""
    pinned: Annotated[bool, 2] = False
    delete: Annotated[bool, 3] = False
    finalize: Annotated[bool, 4] = False


# ------------------------------------------------------------------------------------ containerd.services.content.v1


@dataclass(slots=True)
class ContentInfo(Message):
    digest: Annotated[str, 1] = ""
    size: Annotated[int, 2] = 0


@dataclass(slots=True)
class InfoRequestOfContent(Message):
    digest: Annotated[str, 1] = ""


@dataclass(slots=True)
class InfoResponseOfContent(Message):
    info: Annotated[ContentInfo | None, 1] = None


@dataclass(slots=True)
class ReadContentRequest(Message):
    digest: Annotated[str, 1] = ""
    offset: Annotated[int, 2] = 0
    size: Annotated[int, 3] = 0


@dataclass(slots=True)
class ReadContentResponse(Message):
    offset: Annotated[int, 1] = 0
    data: Annotated[bytes, 2] = b""
