from __future__ import annotations

from pathlib import Path

import pytest

from compose_parts.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    directory = tmp_path / "case"
    directory.mkdir()
    return World(directory, monkeypatch)
