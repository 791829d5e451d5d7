"""Records of volumes that cannot be read: of another version, or of a damaged disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.engine.events import Events
from corten.engine.volume_places import MOVING
from corten.engine.volumes import KIND, Volumes
from corten.spec.json import Json
from fakes.table import MemoryTable


@pytest.mark.parametrize(
    "body", [{}, {"name": 1}, {"name": "bad", "created": "x"}, {"name": "bad", "created": 1, "labels": []}]
)
def test_a_broken_record_hides_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture, body: Json) -> None:
    table = MemoryTable()
    first = Volumes(tmp_path, table, Events())
    for name in ("good", "bad", "moved"):
        first.create(name)
    for name in ("bad", "moved"):
        table.put(KIND, name, body)
        (tmp_path / name / "_data/file").write_text("kept")
    (tmp_path / "moved").rename(tmp_path / MOVING / "moved")  # as when a daemon was killed at the last line of a create
    later = Volumes(tmp_path, table, Events())
    assert [volume.name for volume in later.list()] == ["good"]
    assert [(tmp_path / name / "_data/file").read_text() for name in ("bad", "moved")] == ["kept", "kept"]
    assert "the record of volume bad cannot be read" in caplog.text
