"""README.md: its picture is what scripts/record.py records, its links lead somewhere, its commands exist."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from html import unescape
from pathlib import Path

from corten.cli import table

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text()


def session() -> list[str]:
    spec = importlib.util.spec_from_file_location("record", PROJECT / "scripts" / "record.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.SESSION)


def test_the_picture_shows_the_recorded_session_and_no_times() -> None:
    picture = (PROJECT / "docs" / "run.svg").read_text()
    shown = [unescape(text) for text in re.findall(r"\$ </tspan>(.*?)</text>", picture)]
    assert shown == session()
    assert not re.search(r"\d\s*ms\b|\d\.\d+ +#", picture)


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(links) > 10
    assert [link for link in links if not (PROJECT / link).exists()] == []


def test_commands_are_those_that_are_installed() -> None:
    installed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    for name in installed:
        assert f"/opt/corten/bin/{name}" in README
    used = set(re.findall(r"(?<![/\w-])corten ([a-z]+)", README))
    assert used and [word for word in used if table.find(word) is None and word not in table.GROUPS] == []


def test_the_packages_are_those_of_the_set_up() -> None:
    listed = re.search(r"apt-get install (.*)", README)
    wanted = re.search(r'run_packages="(.*)"', (PROJECT / "scripts" / "setup").read_text())
    assert listed and wanted
    assert set(listed[1].split()) == set(wanted[1].split()) - {"python3"}
