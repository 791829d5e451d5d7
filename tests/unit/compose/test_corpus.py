"""The corpus: our `config` prints what Docker Compose printed, and refuses what it refused, in its words."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from compose_parts import cases, oracle
from corten.cli import output
from corten.cli.compose import entry
from corten.cli.session import Session
from corten.compose.errors import ComposeError
from corten.errors import CortenError

_PLACE = re.compile(r"^[^ :]+:\d+: ")
_FILE = re.compile(
    r"^(?:validating|failed to parse) [^ ]+: +|^decoding failed due to the following error\(s\):\n\n'[^']*' "
)
_LINE = re.compile(r"^yaml: line \d+: ")


class Written:
    """What a command wrote, by descriptor."""

    def __init__(self) -> None:
        self.by_fd: dict[int, bytes] = {output.STDOUT: b"", output.STDERR: b""}

    def write(self, fd: int, data: bytes | memoryview) -> None:
        self.by_fd[fd] += bytes(data)

    def text(self, fd: int) -> str:
        return self.by_fd[fd].decode("utf-8", "surrogateescape")


def ours(case: cases.Case, run: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, list[str]]:
    """What `corten compose config` printed, the error that ended it ("" without one), and its warnings."""
    written = Written()
    with monkeypatch.context() as patch:
        patch.setattr(output, "write_all", written.write)
        patch.chdir(here)
        for name in list(os.environ):
            patch.delenv(name)
        for name, value in {**case.environ, "PWD": str(here)}.items():
            patch.setenv(name, value)
        error = ""
        try:
            code = entry.run(Session("compose"), [*case.flags, "config", *shlex.split(run)])
            assert code == 0, written.text(output.STDERR)
        except ComposeError as failed:
            assert failed.position is None or failed.position.line >= 1
            error = failed.message
        except CortenError as failed:
            error = str(failed)
    said = [cases.placed(line, here) for line in written.text(output.STDERR).splitlines()]
    warnings = [_PLACE.sub("", line.removeprefix("WARNING: ")) for line in said if line.startswith("WARNING: ")]
    return (
        cases.placed(written.text(output.STDOUT), here),
        cases.placed(error, here),
        sorted(set(warnings)),
    )


def _bare(error: str) -> str:
    """Without file and line: ours stand in the error's position."""
    return _LINE.sub("yaml: ", _FILE.sub("", error.strip()))


@pytest.mark.parametrize("name", cases.names())
def test_as_docker_compose(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases.load(name)
    here = case.lay_out(tmp_path)
    assert case.results, "record it: tests/record_compose.py"
    warned: set[str] = set()
    for run in case.runs:
        out, error = (case.results.get(cases.section(kind, run)) for kind in ("out", "error"))
        if out is None and error is None:
            continue
        printed, failed, warnings = ours(case, run, here, monkeypatch)
        warned.update(warnings)
        if error is not None:
            wanted = case.ours.strip() or _bare(error)
            assert _bare(failed) == wanted
        else:
            assert failed == ""
            assert cases.comparable(printed, run) == out
    assert "\n".join(sorted(warned)) == case.results.get("warnings", "").strip()


def test_many() -> None:
    assert len(cases.names()) >= 250


@pytest.mark.timeout(600)
def test_what_was_recorded_is_what_docker_compose_says(tmp_path: Path) -> None:
    if not oracle.path():
        pytest.skip(f"no Docker Compose {oracle.VERSION} (CORTEN_COMPOSE_ORACLE names it)")
    changed: list[str] = []
    for number, name in enumerate(cases.names()):
        directory = tmp_path / str(number)
        directory.mkdir()
        case = cases.load(name)
        # Where ours differs, the oracle's words may depend on the order of a Go map.
        if not case.ours and cases.record(case, oracle.path(), directory) != case.results:
            changed.append(name)
    assert changed == []
