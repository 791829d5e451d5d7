"""Programs that provide services: what they are given, what they say, how they fail."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from corten.compose.execute.providers import provide
from corten.compose.execute.reports import Silent
from corten.compose.execute.running import Running
from corten.compose.model import DependsOn, Project, Provider, Service
from corten.compose.refusals import Refused


class Noted(Silent):
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def event(self, kind: str, name: str, status: str) -> None:
        self.events.append((name, status))


def project(place: Path, script: str, metadata: str = "exit 1") -> Project:
    program = place / "provider"
    program.write_text(f'#!/bin/sh\nif [ "$2" = metadata ]; then {metadata}; exit; fi\n{script}\n')
    program.chmod(0o755)
    data = Service(name="my-data", provider=Provider(type=str(program), options={"size": ("3",), "tag": ("a", "b")}))
    web = Service(name="web", image="web", depends_on={"my-data": DependsOn(condition="service_started")})
    return Project(name="demo", services={"my-data": data, "web": web}, working_dir=str(place))


def test_what_it_sets_is_in_the_services_that_depend_on_it(tmp_path: Path) -> None:
    script = """
echo "{\\"type\\": \\"info\\", \\"message\\": \\"$*\\"}"
echo '{"type": "debug", "message": "not shown"}'
echo '{"type": "setenv", "message": "URL=http://x?a=b"}'
echo '{"type": "rawsetenv", "message": "RAW=1"}'
"""
    noted = Noted()
    found = provide(project(tmp_path, script), noted, Running())
    assert found.services["web"].environment == {"MY-DATA_URL": "http://x?a=b", "RAW": "1"}
    assert found.services["my-data"].environment == {}
    assert noted.events == [
        ("my-data", "Creating"),
        ("my-data", "compose --project-name=demo up --size=3 --tag=a --tag=b my-data"),
        ("my-data", "Created"),
    ]


def test_it_gets_the_options_that_it_takes(tmp_path: Path) -> None:
    said = '{"description": "d", "up": {"parameters": [{"name": "tag"}, {"name": "%s", "required": true}]}}'
    script = """echo "{\\"type\\": \\"info\\", \\"message\\": \\"$* $WHO\\"}" """
    noted = Noted()
    provide(project(tmp_path, script, f"echo '{said % 'size'}'"), noted, Running({**os.environ, "WHO": "me"}))
    assert noted.events[1] == ("my-data", "compose --project-name=demo up --size=3 --tag=a --tag=b my-data me")
    noted = Noted()
    few = '{"description": "d", "up": {"parameters": [{"name": "tag"}]}}'
    provide(project(tmp_path, script, f"echo '{few}'"), noted, Running({**os.environ, "WHO": "me"}))
    assert noted.events[1] == ("my-data", "compose --project-name=demo up --tag=a --tag=b my-data me")
    with pytest.raises(Refused, match='required parameter "more" is missing from provider "'):
        provide(project(tmp_path, script, f"echo '{said % 'more'}'"), Silent(), Running())
    with pytest.raises(Refused, match="has metadata of more than"):
        provide(project(tmp_path, script, "yes"), Silent(), Running())


FAILURES = {
    "exit": ("exit 3", "the provider of service my-data failed: exit status 3"),
    "error": (
        """echo '{"type":"error","message":"no room"}'; exit 1""",
        "the provider of service my-data failed: no room",
    ),
    "an error that ends well": (
        """echo '{"type":"error","message":"no room"}'""",
        "the provider of service my-data failed: no room",
    ),
    "an error without words": (
        """echo '{"type":"error"}'""",
        "the provider of service my-data failed: it does not say why",
    ),
    "no value": (
        """echo '{"type":"setenv","message":"X"}'""",
        "the provider of service my-data sets 'X', which is no KEY=VALUE",
    ),
    "no type": (
        """echo '{"type":"what","message":"X"}'""",
        "the provider of service my-data says 'what', which is no type of a message",
    ),
    "no JSON": ("echo hello", "the provider of service my-data says 'hello', which is no JSON of type and message"),
    "a line without end": ("head -c 200000 /dev/zero | tr '\\0' x", "the provider of service my-data says 'xxxx"),
    "variables without end": (
        """i=0; while :; do i=$((i+1)); echo "{\\"type\\":\\"setenv\\",\\"message\\":\\"A$i=x\\"}"; done""",
        "the provider of service my-data sets more than 1000 variables",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("script", "why"), FAILURES.values(), ids=FAILURES)
def test_it_fails(tmp_path: Path, script: str, why: str) -> None:
    with pytest.raises(Refused) as error:
        provide(project(tmp_path, script), Silent(), Running())
    assert str(error.value).startswith(why)


def test_one_that_is_not_there() -> None:
    services = {"a": Service(name="a", provider=Provider(type="corten-has-none"))}
    with pytest.raises(Refused, match="provider corten-has-none is not there"):
        provide(Project(name="demo", services=services), Silent(), Running())


def test_one_that_hangs_is_ended_by_ctrl_c(tmp_path: Path) -> None:
    running = Running()

    class Interrupting(Silent):
        def event(self, kind: str, name: str, status: str) -> None:
            if status == "begun":
                running.end()

    script = """echo '{"type":"info","message":"begun"}'; exec sleep 1000"""
    with pytest.raises(Refused, match="failed"):
        provide(project(tmp_path, script), Interrupting(), running)
    with pytest.raises(Refused) as error:
        running.begin(["true"], "")
    assert error.value.code == 130


def test_one_that_hangs_before_it_says_what_it_takes(tmp_path: Path) -> None:
    class Interrupted(Running):
        def begin(self, command: list[str], directory: str) -> subprocess.Popen[bytes]:
            process = super().begin(command, directory)
            self.end()
            return process

    with pytest.raises(Refused) as error:
        provide(project(tmp_path, "true", "exec sleep 1000"), Silent(), Interrupted())
    assert error.value.code == 130
