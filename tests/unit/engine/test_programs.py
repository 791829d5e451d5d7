"""What `info` says of an init and a runtime, by what they say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.engine import programs


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\ngo: go1.19.8\n", "1.1.5+ds1-1+deb12u1"),
        (
            "crun version 1.8.1\ncommit: f8a096be060b22ccd3d5f3ebe44108517fbf6c30\n",
            "f8a096be060b22ccd3d5f3ebe44108517fbf6c30",
        ),
        ("tini version 0.19.0 - git.de40ad0\n", "de40ad0"),
        ("tini version 0.19.0\n", "0.19.0"),
        ("runsc version release-20240101.0\nspec: 1.1.0-rc.1\n", "release-20240101.0"),
        ("catatonit\n", ""),
        ("", ""),
    ],
)
def test_versions(text: str, found: str) -> None:
    assert programs.parse(text) == found


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


async def test_a_program_is_asked_once_until_it_is_another(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    path = program(tmp_path / "one", f"echo x >> {asked}; echo one version 1")
    assert [await programs.version(path), await programs.version(path)] == ["1", "1"]
    assert asked.read_text() == "x\n"
    program(tmp_path / "one", "echo one version 2.0")
    assert await programs.version(path) == "2.0"


async def test_one_that_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "_PATIENCE", 0.2)
    assert await programs.version(program(tmp_path / "silent", "exec sleep 1000")) == ""
    assert await programs.version(program(tmp_path / "failing", "exit 1")) == ""
    assert await programs.version(str(tmp_path / "absent")) == ""
    (tmp_path / "text").write_text("no program")
    assert await programs.version(str(tmp_path / "text")) == ""
