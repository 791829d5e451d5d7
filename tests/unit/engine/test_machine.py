"""What `version` and `info` say of this program and its place, compared with git, stat and findmnt."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import corten
from corten.engine import machine

PROJECT = Path(corten.__file__).parents[2]


def test_the_commit_is_gits() -> None:
    if not (PROJECT / ".git").is_dir():
        pytest.skip("this is no clone")
    command = ["git", "-c", "safe.directory=*", "-C", str(PROJECT), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert machine.commit() == done.stdout[:7]


@pytest.mark.parametrize("files", [{"refs/heads/m": "abc1234f\n"}, {"packed-refs": "# x\nabc1234f refs/heads/m\n"}])
def test_a_reference_is_a_file_or_a_line(tmp_path: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert machine._resolved(tmp_path, "refs/heads/m") == "abc1234f"


def test_the_time_is_rfc_3339() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", machine.installed())


@pytest.mark.parametrize("place", ["/proc", "/dev/shm"])
def test_the_file_system_is_the_kernels(place: str) -> None:
    done = subprocess.run(["stat", "-f", "-c", "%T", place], capture_output=True, text=True, check=True)
    assert machine.file_system(Path(place)) == done.stdout.strip()
