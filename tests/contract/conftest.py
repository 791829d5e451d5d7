from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.tasks.launcher import Launcher


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    """It has had nothing to complain of: that another process ends is no error."""
    found = Launcher(tmp_path / "launcher.log")
    found.start()
    yield found
    found.close()
    assert (tmp_path / "launcher.log").read_text() == ""
