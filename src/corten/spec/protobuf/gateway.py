"""Messages of moby.buildkit.v1.frontend (LLBBridge), and of `pb` what a result needs that comes back as an input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from corten.spec.protobuf.codec import Message
from corten.spec.protobuf.control import Capability, Definition, RpcStatus, WorkerRecord


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


# --------------------------------------------------------------------------------------------------------------- pb


@dataclass(slots=True)
class Input(Message):
    digest: Annotated[str, 1] = ""
    index: Annotated[int, 2] = 0


@dataclass(slots=True)
class SourceOp(Message):
    identifier: Annotated[str, 1] = ""


@dataclass(slots=True)
class Op(Message):
    inputs: Annotated[list[Input], 1] = field(default_factory=list)
    source: Annotated[SourceOp | None, 3] = None


@dataclass(slots=True)
class OpMetadata(Message):
    capabilities: Annotated[dict[str, bool], 5] = field(default_factory=dict)
