"""Files in the shape of well-known projects': all parts together, as they are written in practice."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.spec.dockerfile.checks import CheckOptions, check
from corten.spec.dockerfile.commands import executed
from corten.spec.dockerfile.instructions import Copy, Entrypoint, Expose, Run
from corten.spec.dockerfile.parse import parse
from corten.spec.dockerfile.scope import Scope
from corten.spec.dockerfile.stages import Plan, PlanOptions, automatic, plan
from corten.spec.platform import Platform

HERE = Path(__file__).parent / "shapes"
AUTOMATIC = automatic(Platform("linux", "amd64"), Platform("linux", "arm64"), "")


def _plan(name: str, target: str = "", **arguments: str) -> Plan:
    return plan(parse((HERE / f"{name}.Dockerfile").read_bytes()), PlanOptions(target, arguments, AUTOMATIC))


@pytest.mark.parametrize("path", sorted(HERE.glob("*.Dockerfile")), ids=lambda path: path.stem)
def test_every_instruction_is_understood(path: Path) -> None:
    file = parse(path.read_bytes())
    found = plan(file, PlanOptions(automatic=AUTOMATIC))
    assert check(file, found, CheckOptions(automatic=AUTOMATIC)) == []
    for stage in found.stages:
        scope = Scope(found.globals, {}, {}, file.directives.escape)
        for instruction in stage.text.instructions:
            step = scope.take(instruction).instruction
            if isinstance(step, Run):
                scope.mounts(step)
                assert executed(step).args


def test_a_go_program_for_several_platforms() -> None:
    found = _plan("go")
    assert [stage.shown for stage in (found.stages[i] for i in found.order)] == ["base", "build", "certs", "stage-4"]
    assert found.stages[0].base.platform == "linux/amd64"
    assert _plan("go", "test").target.text.name == "test"


def test_a_web_application() -> None:
    found = _plan("python", PYTHON="3.12")
    (origin,) = {str(found.stages[i].origin) for i in found.order if found.stages[i].text.name == "base"}
    assert "python:3.12-slim" in origin
    runs = [step for step in found.target.text.instructions if isinstance(step, Run)]
    assert len(runs[0].mounts) == 2


def test_a_database_server() -> None:
    (stage,) = _plan("database").stages
    run = next(step for step in stage.text.instructions if isinstance(step, Run))
    assert run.command.args[0].startswith("set -eux;") and "\n" not in run.command.args[0]
    assert {type(step).__name__ for step in stage.text.instructions} >= {"Volume", "Expose", "Entrypoint", "StopSignal"}


def test_files_within_the_file() -> None:
    (stage,) = _plan("heredocs").stages
    copies = [step for step in stage.text.instructions if isinstance(step, Copy)]
    assert [doc.name for copy in copies for doc in copy.heredocs] == ["server.conf", "site.conf", "start"]
    assert isinstance(stage.text.instructions[-1], Entrypoint)
    assert next(step.ports for step in stage.text.instructions if isinstance(step, Expose)) == ("$PORT",)
