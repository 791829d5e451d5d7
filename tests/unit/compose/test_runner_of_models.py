"""Models: Docker's runner is asked for them, and services learn where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose_parts.world import World
from corten.compose.errors import ComposeError
from corten.compose.execute.models import furnished
from corten.compose.execute.reports import Silent
from corten.compose.execute.running import Running
from corten.compose.model import Project
from corten.compose.refusals import Refused

TEXT = """
services:
  a: {image: x, models: [small, llm-x]}
  b:
    image: x
    models: {small: {endpoint_var: URL, model_var: NAME}}
  c: {image: x}
models:
  small: {model: ai/there}
  llm-x: {model: ai/more, context_size: 1024, runtime_flags: ["--a", "b c"]}
  unused: {model: ai/unused}
"""
RUNNER = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$1" in
status) %s;;
ls) echo '[{"id": "1", "tags": ["ai/there"]}, {"id": "2", "tags": null}]';;
pull) %s;;
esac
"""
STATUS = """echo '{"endpoint": "http://host/v1/", "running": true}'"""


class Noted(Silent):
    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def event(self, kind: str, name: str, status: str) -> None:
        self.events.append((kind, name, status))


class Runner:
    def __init__(self, world: World, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.calls = place / "calls"
        self.program = place / "cli-plugins" / "docker-model"
        self.program.parent.mkdir()
        monkeypatch.setenv("DOCKER_CONFIG", str(place))
        self.noted = Noted()

    def __call__(
        self, status: str = STATUS, pull: str = "echo 1; echo 2", dry_run: bool = False, text: str = TEXT
    ) -> Project:
        self.program.write_text(RUNNER % (status, pull))
        self.program.chmod(0o755)
        running = Running({"CALLS": str(self.calls), "PATH": "/usr/bin:/bin"})
        return furnished(self.world.load(text), self.noted, running, dry_run)

    @property
    def called(self) -> list[str]:
        return self.calls.read_text().splitlines()


@pytest.fixture
def runner(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    return Runner(world, tmp_path, monkeypatch)


def test_what_is_asked_and_what_services_learn(runner: Runner) -> None:
    """The calls and variables of Docker Compose 2.40.3."""
    services = runner().services
    assert runner.called == [
        "status --json",
        "ls --json",
        "pull ai/more",
        "configure --context-size 1024 ai/more -- --a b c",
        "configure ai/there",
    ]
    assert services["a"].environment == {
        "SMALL_MODEL": "ai/there", "SMALL_URL": "http://host/v1/",
        "LLM_X_MODEL": "ai/more", "LLM_X_URL": "http://host/v1/",
    }  # fmt: skip
    assert services["b"].environment == {"NAME": "ai/there", "URL": "http://host/v1/"}
    assert services["c"].environment == {}
    assert runner.noted.events[:2] == [("Model", "llm-x", "Pulling"), ("Model", "llm-x", "Pulled")]


def test_a_dry_run_only_asks(runner: Runner) -> None:
    assert runner(dry_run=True).services["b"].environment["URL"] == "http://host/v1/"
    assert runner.called == ["status --json"]


@pytest.mark.parametrize(
    ("status", "pull", "why"),
    [
        (STATUS, "echo no such model; exit 3", "docker model pull failed: no such model"),
        ("exit 4", "true", "docker model status failed: exit status 4"),
        ("echo hello", "true", "docker model status says 'hello'"),
        ("yes", "true", "docker model status says more than"),
    ],
)
def test_it_fails(runner: Runner, status: str, pull: str, why: str) -> None:
    with pytest.raises(Refused) as caught:
        runner(status, pull)
    assert str(caught.value).startswith(why)


def test_without_a_runner(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setattr("corten.compose.execute.running._PLUGINS", ())
    with pytest.raises(ComposeError) as caught:
        furnished(world.load(TEXT), Silent(), Running())
    where = f"{world.directory}/compose.yaml:10: "
    assert str(caught.value).startswith(f"{where}'models' support requires Docker Model plugin: ")


def test_a_name_that_is_an_option_is_none(runner: Runner) -> None:
    with pytest.raises(Refused, match="model m: '--help' is no name of a model"):
        runner(text="services: {a: {image: x, models: [m]}}\nmodels: {m: {model: --help}}\n")
    assert runner.called == ["status --json", "ls --json"]
