"""What is left of a command that failed."""

from __future__ import annotations

import sys

import pytest
from bench import commands
from bench.measure import Failed


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_of_a_command() -> None:
    assert commands.run(python("print('x')")) == "x\n"
    assert commands.count(python("print('x' * 100000)")) == 100001


def test_a_failure_has_status_and_last_words() -> None:
    with pytest.raises(Failed, match=r"status 3: no such image$"):
        commands.run(python("import sys; print('no such image\\n\\nSee --help.', file=sys.stderr); sys.exit(3)"))
    with pytest.raises(Failed, match="status 4"):
        commands.count(python("raise SystemExit(4)"))


def test_nothing_was_said() -> None:
    assert commands.last_words("\n") == "no message"
