"""Control groups that the kernel cannot remove at once: EBUSY."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from corten.tasks import leftovers


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of groups that cannot be removed; the others are."""
    held: list[str] = []

    def remove_cgroup(path: str) -> tuple[int, bool]:
        if path in held:
            raise OSError(errno.EBUSY, "Device or resource busy")
        return 0, True

    monkeypatch.setattr(leftovers, "remove_cgroup", remove_cgroup)
    return held


def test_what_is_busy_is_removed_later(tmp_path: Path, busy: list[str]) -> None:
    runs, bundle = tmp_path / "runs", tmp_path / "bundle"
    (runs / "a").mkdir(parents=True)
    (runs / "b").mkdir()
    bundle.mkdir()
    (bundle / "config.json").write_text(json.dumps({"linux": {"cgroupsPath": "/chosen/a"}}))
    busy.append("/chosen/a")
    (said,) = leftovers.remove(runs / "a", bundle)
    assert "cannot be removed yet" in said and (runs / "a").is_dir()
    assert leftovers.retry(runs) == [] and (runs / "a").is_dir(), "it is busy still"
    (bundle / "config.json").unlink()
    (said,) = leftovers.remove(runs / "a", bundle, "/corten/a")
    assert "/chosen/a" in said, "a later daemon, for which there is no specification any more"
    busy.clear()
    assert leftovers.retry(runs) == ["control group /chosen/a is removed"]
    assert [run.name for run in runs.iterdir()] == ["b"], "others have a supervisor"


def test_what_can_be_removed_is(tmp_path: Path, busy: list[str]) -> None:
    (tmp_path / "a").mkdir()
    assert leftovers.remove(tmp_path / "a", tmp_path / "none", "/corten/a") == [
        "control group /corten/a",
        f"directory {tmp_path / 'a'}",
    ]
    assert leftovers.retry(tmp_path / "none") == []
