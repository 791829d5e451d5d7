"""docs/corten-oci.md against the command's own parser: every command, every flag, what is taken without effect."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.errors import Unsupported
from corten.oci import hooks, main

PAGE = (Path(__file__).parents[3] / "docs" / "corten-oci.md").read_text()
COMMANDS = PAGE.partition("\n## Commands\n")[2].partition("\n## ")[0]
_FLAG = re.compile(r"`(--?[a-z][a-z-]*)`")


def rows(text: str) -> list[list[str]]:
    """The cells of each row that begins with code."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]


def flags(parser: argparse.ArgumentParser, hidden: bool = False) -> set[str]:
    found = [action for action in parser._actions if (action.help == argparse.SUPPRESS) == hidden]
    return {flag for action in found for flag in action.option_strings} - {"-h", "--help"}


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (a for a in main._parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(found.choices)


def hidden() -> Iterator[str]:
    for parser in (main._parser(), *commands().values()):
        yield from flags(parser, hidden=True)


def test_every_command_with_its_flags() -> None:
    first = rows(COMMANDS.partition("Before the command:")[0])
    on_the_page = {row[0].strip("`"): set(_FLAG.findall(row[1])) for row in first}
    assert on_the_page == {name: flags(parser) for name, parser in commands().items()}


def test_flags_before_the_command() -> None:
    table = rows(COMMANDS.partition("Before the command:")[2])
    assert {flag for row in table for flag in _FLAG.findall(row[0])} == flags(main._parser())
    assert table[0][:2] == ["`--root`", str(main._parser().get_default("root"))]


def test_flags_without_effect() -> None:
    paragraph = COMMANDS.partition("without effect:")[2]
    assert set(_FLAG.findall(paragraph)) == set(hidden())


def test_the_help_lists_the_same_commands() -> None:
    shown = subprocess.run([sys.executable, "-m", "corten.oci", "--help"], capture_output=True, text=True, check=True)
    listed = re.findall(r"^    ([a-z]+) ", shown.stdout, re.MULTILINE)
    assert sorted(listed) == sorted(row[0].strip("`") for row in rows(COMMANDS.partition("Before the command:")[0]))


def test_hooks_that_are_refused() -> None:
    (row,) = (row for row in PAGE.splitlines() if row.startswith("| hooks |"))
    for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
        refused = kind in row.split("|")[3]
        assert refused != (kind in row.split("|")[2])
        if refused:
            with pytest.raises(Unsupported):
                hooks.check({"hooks": {kind: [{"path": "/bin/true"}]}})
        else:
            hooks.check({"hooks": {kind: [{"path": "/bin/true"}]}})
