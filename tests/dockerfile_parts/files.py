"""What the tests of Dockerfiles use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import pytest

from corten.errors import Invalid
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.instructions import Dockerfile, Instruction
from corten.spec.dockerfile.parse import parse
from corten.spec.dockerfile.scope import Scope, global_arguments
from corten.spec.dockerfile.stages import Plan, PlanOptions, plan

Kind = TypeVar("Kind", bound=Instruction)


def file(text: str) -> Dockerfile:
    return parse(text.encode())


def one(kind: type[Kind], line: str, head: str = "FROM scratch\n") -> Kind:
    """The instruction of a file of one stage that has only this one."""
    (instruction,) = file(head + line + "\n").stages[-1].instructions
    assert isinstance(instruction, kind)
    return instruction


def refused(text: str) -> str:
    """The message of what is refused."""
    with pytest.raises(DockerfileError) as error:
        file(text)
    return str(error.value)


def planned(
    text: str, target: str = "", arguments: Mapping[str, str] | None = None, contexts: Sequence[str] = ()
) -> Plan:
    return plan(file(text), PlanOptions(target, arguments or {}, {}, contexts))


def unplanned(text: str, target: str = "") -> str:
    with pytest.raises(Invalid) as error:
        planned(text, target)
    return str(error.value)


def run_through(
    text: str,
    given: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[list[Instruction], Scope]:
    """The instructions of the first stage, expanded one after the other, and what is known behind them."""
    found = file(text)
    escape = found.directives.escape
    known = global_arguments(found.arguments, given or {}, {}, escape)
    scope = Scope(known, given or {}, environment or {}, escape)
    return [scope.take(instruction).instruction for instruction in found.stages[0].instructions], scope


def env(text: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The image's environment behind a stage of these instructions, without PATH."""
    scope = run_through("FROM scratch\n" + text, given)[1]
    return {name: value for name, value in scope.environment.items() if name != "PATH"}


def seen(text: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a RUN behind the first stage sees, without PATH."""
    scope = run_through(text, given)[1]
    return {name: value for name, value in scope.variables.items() if name != "PATH"}
