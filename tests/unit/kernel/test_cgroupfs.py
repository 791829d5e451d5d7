"""Control groups as directories: any will do for what looks at them alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corten.kernel import cgroupfs


@pytest.fixture
def top(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "top" / "a" / "b").mkdir(parents=True)
    (tmp_path / "top" / "c").mkdir()
    directory = cgroupfs.open_directory(str(tmp_path / "top"))
    yield directory
    os.close(directory)


def test_the_lower_ones_come_first(top: int, tmp_path: Path) -> None:
    found = [(os.readlink(f"/proc/self/fd/{above}"), name) for above, name in cgroupfs.below(top)]
    assert found.index((f"{tmp_path}/top/a", "b")) < found.index((f"{tmp_path}/top", "a"))
    assert len(found) == 3 and (f"{tmp_path}/top", "c") in found


@pytest.mark.parametrize("step", ["fstat", "scandir", "open"])
def test_one_that_is_removed_while_it_is_looked_at(
    top: int, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(os, step)

    def removed(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        shutil.rmtree(tmp_path / "top")
        return real(*arguments, **options)

    monkeypatch.setattr(os, step, removed)
    assert list(cgroupfs.below(top)) == []
    assert not (tmp_path / "top").exists() and cgroupfs.pids(top) == []
