"""Messages of moby.buildkit.v1.frontend (LLBBridge), and of `pb` what a result needs that comes back as an input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from corten.spec.protobuf.codec import Message
from corten.spec.protobuf.control import Capability, Definition, Platform, Range, RpcStatus, Timestamp, WorkerRecord
from corten.spec.protobuf.session import Stat


@dataclass(slots=True)
class Ref(Message):
    id: Annotated[str, 1] = ""
    definition: Annotated[Definition | None, 2] = None


@dataclass(slots=True)
class RefMap(Message):
    refs: Annotated[dict[str, Ref], 1] = field(default_factory=dict)


@dataclass(slots=True)
class Result(Message):
    """`one` or `several`: of a single platform, or by platform."""

    one: Annotated[Ref | None, 3] = None
    several: Annotated[RefMap | None, 4] = None
    metadata: Annotated[dict[str, bytes], 10] = field(default_factory=dict)


@dataclass(slots=True)
class BridgeSolveRequest(Message):
    definition: Annotated[Definition | None, 1] = None
    frontend: Annotated[str, 2] = ""
    attributes: Annotated[dict[str, str], 3] = field(default_factory=dict)
    inputs: Annotated[dict[str, Definition], 13] = field(default_factory=dict)


@dataclass(slots=True)
class BridgeSolveResponse(Message):
    result: Annotated[Result | None, 3] = None


@dataclass(slots=True)
class ReturnRequest(Message):
    result: Annotated[Result | None, 1] = None
    error: Annotated[RpcStatus | None, 2] = None


@dataclass(slots=True)
class PongResponse(Message):
    frontend: Annotated[list[Capability], 1] = field(default_factory=list)
    llb: Annotated[list[Capability], 2] = field(default_factory=list)
    workers: Annotated[list[WorkerRecord], 3] = field(default_factory=list)


@dataclass(slots=True)
class EvaluateRequest(Message):
    ref: Annotated[str, 1] = ""


@dataclass(slots=True)
class FileRange(Message):
    offset: Annotated[int, 1] = 0
    length: Annotated[int, 2] = 0


@dataclass(slots=True)
class ReadFileRequest(Message):
    ref: Annotated[str, 1] = ""
    path: Annotated[str, 2] = ""
    range: Annotated[FileRange | None, 3] = None


@dataclass(slots=True)
class ReadFileResponse(Message):
    data: Annotated[bytes, 1] = b""


@dataclass(slots=True)
class ReadDirRequest(Message):
    ref: Annotated[str, 1] = ""
    path: Annotated[str, 2] = ""
    pattern: Annotated[str, 3] = ""


@dataclass(slots=True)
class ReadDirResponse(Message):
    entries: Annotated[list[Stat], 1] = field(default_factory=list)


@dataclass(slots=True)
class StatFileRequest(Message):
    ref: Annotated[str, 1] = ""
    path: Annotated[str, 2] = ""


@dataclass(slots=True)
class StatFileResponse(Message):
    stat: Annotated[Stat | None, 1] = None


@dataclass(slots=True)
class WarnRequest(Message):
    digest: Annotated[str, 1] = ""
    level: Annotated[int, 2] = 0
    short: Annotated[bytes, 3] = b""
    detail: Annotated[list[bytes], 4] = field(default_factory=list)
    url: Annotated[str, 5] = ""
    ranges: Annotated[list[Range], 7] = field(default_factory=list)


# --------------------------------------------------------------------------------------------------------------- pb


@dataclass(slots=True)
class Input(Message):
    digest: Annotated[str, 1] = ""
    index: Annotated[int, 2] = 0


@dataclass(slots=True)
class SourceOp(Message):
    identifier: Annotated[str, 1] = ""
    attributes: Annotated[dict[str, str], 2] = field(default_factory=dict)


@dataclass(slots=True)
class FileActionCopy(Message):
    source: Annotated[str, 1] = ""
    target: Annotated[str, 2] = ""
    unpack: Annotated[bool, 7] = False


@dataclass(slots=True)
class FileAction(Message):
    copy: Annotated[FileActionCopy | None, 4] = None


@dataclass(slots=True)
class FileOp(Message):
    actions: Annotated[list[FileAction], 2] = field(default_factory=list)


@dataclass(slots=True)
class ResolveImageConfigRequest(Message):
    ref: Annotated[str, 1] = ""
    platform: Annotated[Platform | None, 2] = None
    mode: Annotated[str, 3] = ""


@dataclass(slots=True)
class ResolveImageConfigResponse(Message):
    digest: Annotated[str, 1] = ""
    config: Annotated[bytes, 2] = b""
    ref: Annotated[str, 3] = ""


@dataclass(slots=True)
class ResolveSourceImageRequest(Message):
    no_config: Annotated[bool, 1] = False


@dataclass(slots=True)
class ResolveSourceMetaRequest(Message):
    source: Annotated[SourceOp | None, 1] = None
    platform: Annotated[Platform | None, 2] = None
    mode: Annotated[str, 4] = ""
    image: Annotated[ResolveSourceImageRequest | None, 6] = None


@dataclass(slots=True)
class ResolvedImage(Message):
    digest: Annotated[str, 1] = ""
    config: Annotated[bytes, 2] = b""


@dataclass(slots=True)
class ResolvedGit(Message):
    """`commit` is what the annotated tag `checksum` is of, "" for no such tag."""

    checksum: Annotated[str, 1] = ""
    ref: Annotated[str, 2] = ""
    commit: Annotated[str, 3] = ""


@dataclass(slots=True)
class ResolvedHttp(Message):
    checksum: Annotated[str, 1] = ""
    filename: Annotated[str, 2] = ""
    modified: Annotated[Timestamp | None, 3] = None


@dataclass(slots=True)
class ResolveSourceMetaResponse(Message):
    source: Annotated[SourceOp | None, 1] = None
    image: Annotated[ResolvedImage | None, 2] = None
    git: Annotated[ResolvedGit | None, 3] = None
    http: Annotated[ResolvedHttp | None, 4] = None


@dataclass(slots=True)
class Op(Message):
    inputs: Annotated[list[Input], 1] = field(default_factory=list)
    source: Annotated[SourceOp | None, 3] = None
    file: Annotated[FileOp | None, 4] = None


@dataclass(slots=True)
class OpMetadata(Message):
    capabilities: Annotated[dict[str, bool], 5] = field(default_factory=dict)
