"""Which files, which directory, which name."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from compose_parts.world import World
from corten.compose.errors import ComposeError


def test_the_directory_above(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("services: {a: {image: x, build: .}}")
    below = world.directory / "one" / "two"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    project = world.load()
    assert (project.working_dir, project.name) == (str(world.directory), "case")
    assert project.files == (str(world.directory / "compose.yaml"),)
    assert project.services["a"].build is not None and project.services["a"].build.context == str(world.directory)


def test_nothing_anywhere(world: World) -> None:
    with pytest.raises(ComposeError) as caught:
        world.load()
    assert str(caught.value) == "no configuration file provided: not found: make compose.yaml, or name a file with -f"


def test_the_dotenv_here_goes_before_that_of_the_project(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("services: {a: {image: '${A}-${B}'}}")
    world.write("A=project\nB=project\n", ".env")
    world.write("A=here\n", "sub/.env")
    monkeypatch.chdir(world.directory / "sub")
    assert world.load().services["a"].image == "here-project"


def test_standard_input(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.write(write, b"services: {a: {image: piped, volumes: ['./d:/d']}}")
    os.close(write)
    saved = os.dup(0)
    try:
        os.dup2(read, 0)
        project = world.load(files=("-",))
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(read)
    assert project.files == ("-",) and project.working_dir == str(world.directory)
    assert project.services["a"].volumes[0].source == str(world.directory / "d")


def test_env_files_are_remembered(world: World) -> None:
    world.write("A=1\n", "one.env")
    project = world.load("services: {a: {image: 'x${A}'}}", env_files=("one.env",))
    assert project.env_files == ("one.env",)
    assert project.environment["A"] == "1" and project.environment["COMPOSE_PROJECT_NAME"] == "case"


def test_the_command_line_starts_without_yaml() -> None:
    """Neither other commands nor the help of compose load what reads files."""
    program = (
        "import sys\n"
        "from corten.cli.main import main\n"
        "main(['compose', '--help']); main(['compose', 'config', '--help']); main(['ps', '--help'])\n"
        "loaded = [name for name in sys.modules if name.partition('.')[0] in ('ruamel', 'msgspec')"
        " or name.startswith('corten.compose')]\n"
        "sys.exit(' '.join(loaded) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:  corten compose [OPTIONS] COMMAND" in done.stdout
