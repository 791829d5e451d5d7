"""docs/configuration.md against `corten.daemon.config`: every key and flag, its type, its default, its reload."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from corten.daemon import config, without_effect
from corten.daemon.config import Config
from corten.errors import Invalid
from corten.plan.runtimes import OciRuntime

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
_TYPES = {
    "bool": "boolean",
    "int": "number",
    "str": "text",
    "Path": "path",
    "Path | None": "path",
    "tuple[str, ...]": "list of texts",
    "tuple[Json, ...]": "list of objects",
}
_FLAG = re.compile(r"`(--?[a-z][a-z0-9-]*)`", re.IGNORECASE)
_WORD = re.compile(r"`([a-z0-9-]+)`")


class Setting(NamedTuple):
    """One row: key, flags, type, default as JSON, whether SIGHUP reloads it."""

    key: str
    flags: tuple[str, ...]
    type: str
    default: str
    reloaded: bool


def section(title: str) -> str:
    """The text of one section of the page, up to the next of the same level."""
    _, found, rest = PAGE.partition(f"\n## {title}\n")
    assert found, f"the page has no section {title}"
    return rest.partition("\n## ")[0]


def on_the_page() -> list[Setting]:
    rows = [line.strip("|").split("|") for line in section("Settings").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return sorted(
        Setting(key.strip("`"), tuple(_FLAG.findall(flags)), type_, default.strip("`"), reload == "yes")
        for key, flags, type_, default, reload, *_ in cells
    )


def options() -> list[argparse.Action]:
    return config._parser()._actions


def in_the_code() -> list[Setting]:
    flags = {action.dest: tuple(action.option_strings) for action in options()}
    return sorted(
        Setting(
            item.name.replace("_", "-"),
            flags.get(item.name, ()),
            _TYPES.get(str(item.type), "object" if str(item.type).startswith("Mapping") else "unknown"),
            _shown(getattr(Config(), item.name)),
            item.name in config.RELOADED,
        )
        for item in config.SETTINGS
    )


def _shown(value: object) -> str:
    return "none" if value is None else json.dumps(str(value) if isinstance(value, Path) else value)


def test_every_setting_is_on_the_page_as_it_is_in_the_code() -> None:
    assert on_the_page() == in_the_code()


def test_the_flags_that_are_no_settings() -> None:
    names = {item.name for item in config.SETTINGS}
    shown = [a for a in options() if a.help != argparse.SUPPRESS and a.dest not in names]
    before = PAGE.partition("\n## ")[0]
    rows = [
        flag for line in before.splitlines() if line.startswith("| `") for flag in _FLAG.findall(line.split("|")[1])
    ]
    assert sorted(rows) == sorted(flag for action in shown for flag in action.option_strings)


def test_what_is_taken_without_effect() -> None:
    title = "Docker's settings that have no effect"
    listed = "\n".join(line for line in section(title).splitlines() if line.startswith("`"))
    settings = {item.name.replace("_", "-") for item in config.SETTINGS}
    assert set(_WORD.findall(listed)) == set(without_effect.KEYS) - set(without_effect.REFUSED)
    assert not without_effect.KEYS & settings
    for name in without_effect.REFUSED:
        assert f"`{name}`" in section(title) or f"`--{name}`" in section(title)


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Config]:
    def load_(text: str) -> Config:
        (tmp_path / "daemon.json").write_text(text)
        return config.load(["--config-file", str(tmp_path / "daemon.json")])[0]

    return load_


def test_the_example_is_a_configuration(load: Callable[[str], Config]) -> None:
    indented = re.search(r"^    \{\n(?:    .*\n)+?    \}$", PAGE, re.MULTILINE)
    assert indented
    found = load(indented[0])
    assert found.log_opts == {"max-size": "10m", "max-file": "5"} and found.runtimes == {
        "runc": OciRuntime("/usr/sbin/runc")
    }


def test_what_the_page_says_of_unknown_keys(load: Callable[[str], Config]) -> None:
    with pytest.raises(Invalid, match="unknown keys: swarm"):
        load('{"swarm": 1}')
    assert load('{"exec-opts": "any value"}') == Config(without_effect=("exec-opts",))
