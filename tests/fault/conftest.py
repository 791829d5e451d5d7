from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts import census
from fault_parts.fragile import Fragile, comparable, leftovers

HERE = Path(__file__).parent
NEEDED = ("ip", "nft", "busybox")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [program for program in NEEDED if not shutil.which(program)]
    why = "needs root" if os.geteuid() != 0 else f"needs {', '.join(missing)}" if missing else ""
    for item in items:
        if HERE in item.path.parents and why:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fragile]:
    """One daemon's roots for the tests of a file; the daemon in them dies and comes back."""
    fragile = Fragile(tmp_path_factory.mktemp("fault"))
    fragile.start()
    try:
        fragile.create("true", name="warm")
        fragile.remove_everything()
        yield fragile
    finally:
        fragile.stop()


@pytest.fixture
def daemon(standing: Fragile) -> Iterator[Fragile]:
    """After each test the machine is as it was before."""
    before = comparable(census.settled(standing))
    yield standing
    if standing._process is None or standing._process.poll() is not None:
        standing.start()
    standing.remove_everything()
    left = leftovers(before, standing)
    assert not left, f"left behind (come, gone): {left}"
