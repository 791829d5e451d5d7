from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.cli.scripted import Daemon, daemon_at


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with daemon_at(tmp_path / "d.sock") as found:
        yield found
