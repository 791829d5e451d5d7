"""The command line as a whole: the table, help, mistakes, the daemon that is not there, the start-up."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.cli import autostart, main, table, userconfig
from corten.cli.command import Command

Corten = Callable[..., tuple[int, str, str]]
SOURCE = Path(main.__file__).parents[2]
LAUNCH = "import sys; sys.path.insert(0, sys.argv.pop(1)); from corten.cli.main import entry; entry()"


def launch(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """As a launcher script starts it: isolated, without site-packages."""
    command = [sys.executable, "-I", "-S", "-c", LAUNCH, str(SOURCE), *words]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("entry", table.entries(), ids=lambda entry: entry.paths[0])
def test_every_line_of_the_table_is_a_command_with_a_help_page(entry: table.Entry, corten: Corten) -> None:
    module = importlib.import_module(f"corten.cli.commands.{entry.module}")
    assert isinstance(module.COMMAND, Command)
    code, out, _ = corten("help", *entry.paths[0].split())
    assert code == 0
    assert out.startswith(f"Usage:  corten {entry.paths[0]}") and module.COMMAND.short in out
    names = [one.name for one in module.COMMAND.flags]
    letters = [one.short for one in module.COMMAND.flags if one.short]
    assert len(names) == len(set(names)) and len(letters) == len(set(letters))


def test_no_spelling_is_taken_twice() -> None:
    paths = [path for entry in table.entries() for path in entry.paths]
    assert len(paths) == len(set(paths))
    assert {path.split()[0] for path in paths if " " in path} <= set(table.GROUPS)


def test_help_pages(corten: Corten) -> None:
    for words in ([], ["--help"], ["help"]):
        code, out, _ = corten(*words)
        assert code == 0 and "Usage:  corten [OPTIONS] COMMAND" in out and "\n  run" in out
    assert "corten container COMMAND" in corten("container")[1]
    assert "      --cap-add list" in corten("run", "--help")[1]
    assert "-e, --env list" in corten("run", "--help")[1]
    assert "deprecated" in corten("ps", "-h")[2]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nope"], 1, "corten: 'nope' is not a corten command.\nSee 'corten --help'\n"),
        (["container", "nope"], 1, "corten: 'container nope' is not a corten command.\nSee 'corten --help'\n"),
        (["buildx", "ls"], 1, "corten: 'buildx' is not a corten command: use 'corten build'"),
        (["help", "stack"], 1, "corten: 'stack' is not a corten command: the engine does not do that"),
        (["compose", "nope"], 1, "corten: 'nope' is not a command of corten compose.\nSee 'corten compose --help'\n"),
        (["compose", "--nope"], 1, "unknown flag: --nope\nSee 'corten compose --help'.\n"),
        (["compose", "config", "--nope"], 1, "unknown flag: --nope\nSee 'corten compose config --help'.\n"),
        (["run", "--nope"], 125, "unknown flag: --nope\nSee 'corten run --help'.\n"),
        (["container", "ls", "--nope"], 125, "unknown flag: --nope\nSee 'corten container ls --help'.\n"),
        (["--nope"], 125, "unknown flag: --nope\nSee 'corten --help'.\n"),
        (["run"], 1, "corten: 'corten run' requires at least 1 argument\n"),
        (["ps", "x"], 1, "corten: 'corten ps' accepts no arguments\n"),
        (["rename", "x"], 1, "corten: 'corten rename' requires 2 arguments\n"),
        (["port"], 1, "corten: 'corten port' requires at least 1 and at most 2 arguments\n"),
        (["-H", "gopher://x", "ps"], 1, "unable to parse docker host `gopher://x`"),
    ],
)
def test_mistakes(corten: Corten, words: list[str], code: int, message: str) -> None:
    found, out, err = corten(*words)
    assert (found, out) == (code, "")
    assert err.startswith(message)


def test_every_group_has_commands_and_none_is_absent() -> None:
    members = {path.split()[0] for entry in table.entries() for path in entry.paths if " " in path}
    assert members == {name.split()[0] for name in table.GROUPS}
    assert not set(table.ABSENT) & (members | {entry.paths[0] for entry in table.entries()})


def test_the_version_needs_no_daemon(corten: Corten) -> None:
    assert corten("-v")[1].startswith("Corten version ")


@pytest.mark.parametrize(("words", "code"), [(["ps"], 1), (["run", "busybox"], 125)])
def test_an_absent_daemon(tmp_path: Path, words: list[str], code: int) -> None:
    url = f"unix://{tmp_path}/none.sock"
    done = launch(*words, CORTEN_HOST=url)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == f"cannot connect to the Corten daemon at {url}; is it running? start it with: corten daemon\n"


def test_what_is_loaded_stays_little(tmp_path: Path) -> None:
    """Each of these costs milliseconds before the first request."""
    program = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
from corten.cli.main import main
words = "run --rm -p 80:80 -v /a:/b -e A=1 busybox true".split()
main(["-H", "unix://{tmp_path}/none.sock", *words])
heavy = {{"json", "re", "enum", "functools", "collections", "signal", "typing", "argparse", "dataclasses", "logging",
         "subprocess", "asyncio", "socket", "http", "urllib", "tempfile", "selectors", "threading", "shutil",
         "pathlib", "inspect", "base64", "decimal", "ssl"}}
commands = [name for name in sys.modules if name.startswith("corten.cli.commands.")]
print(sorted(heavy & set(sys.modules)), commands)
print(sorted(name for name in sys.modules if name.startswith("corten.spec.docker.")))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60)
    loaded, structures = done.stdout.splitlines()
    assert loaded == "[] ['corten.cli.commands.run']", done.stderr
    assert structures == str([f"corten.spec.docker.{name}" for name in ("config", "create", "host_config", "struct")])


def test_only_the_default_socket_starts_a_daemon(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    program = tmp_path / "start"
    program.write_text(f"#!/bin/sh\necho chatter\ntouch {mark}\nexit 1\n")
    program.chmod(0o755)
    launch("ps", CORTEN_AUTOSTART=str(program), CORTEN_HOST=f"unix://{tmp_path}/none.sock")
    assert not mark.exists()


def test_autostart_runs_its_command_without_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "start"
    program.write_text('#!/bin/sh\necho "chatter $1 [$CORTEN_AUTOSTART]"\nexit ${2:-0}\n')
    program.chmod(0o755)
    assert autostart.start({"CORTEN_AUTOSTART": f"{program} word 0"})
    assert not autostart.start({"CORTEN_AUTOSTART": f"{program} word 3"})
    spaced = tmp_path / "a clone" / "start"
    spaced.parent.mkdir()
    spaced.symlink_to(program)
    assert autostart.start({"CORTEN_AUTOSTART": str(spaced)})
    assert not autostart.start({"CORTEN_AUTOSTART": "/no/such/program"})
    assert not autostart.start({})
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "chatter word []\nchatter word []\nchatter  []\n")


def test_a_closed_pipe_is_no_error_message(tmp_path: Path) -> None:
    words = [sys.executable, "-I", "-S", "-c", LAUNCH, str(SOURCE), "--help"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (-13, "")


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("busybox", "docker.io"),
        ("a/b", "docker.io"),
        ("h:5/a", "h:5"),
        ("h.x/a/b", "h.x"),
        ("localhost/a", "localhost"),
    ],
)
def test_the_registry_of_a_reference(reference: str, registry: str) -> None:
    assert userconfig.registry_of(reference) == registry
