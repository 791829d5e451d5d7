"""Fixtures of tests/fault and tests/hostile; their conftest.py imports them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from e2e_parts import census
from e2e_parts.cortend import IMAGE
from fault_parts.fragile import Fragile, comparable, leftovers

NEEDED = ("ip", "nft", "busybox")


def lacking() -> str:
    """Why these tests cannot run here; empty when they can."""
    missing = [program for program in NEEDED if not shutil.which(program)]
    return "needs root" if os.geteuid() != 0 else f"needs {', '.join(missing)}" if missing else ""


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fragile]:
    """One daemon's roots for the tests of a file; the daemon in them is killed and started again."""
    if why := lacking():
        pytest.skip(why)
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
    _clean(standing)
    left = leftovers(before, standing)
    assert not left, f"left behind (come, gone): {left}"


@pytest.fixture(scope="module")
def enduring(standing: Fragile) -> Iterator[Fragile]:
    """One daemon for a file of tests that leave it as it was; after the last one the machine is as it was."""
    before = comparable(census.settled(standing))
    yield standing
    left = leftovers(before, standing)
    assert not left, f"left behind (come, gone): {left}"


@pytest.fixture
def shared(enduring: Fragile) -> Iterator[Fragile]:
    """The same, with nothing in it of the tests before."""
    yield enduring
    _clean(enduring)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fragile]:
    """Another daemon, to which nothing is done: how long it takes for what the first one is asked as well says how busy
    the machine is (`e2e_parts.patience.longer`)."""
    if why := lacking():
        pytest.skip(why)
    with Fragile(tmp_path_factory.mktemp("healthy")) as daemon:
        daemon.start()
        daemon.create("true", name="warm")
        daemon.remove_everything()
        yield daemon


@pytest.fixture
def beside(healthy: Fragile) -> Iterator[Fragile]:
    """The same, with nothing in it of the tests before."""
    yield healthy
    _clean(healthy)


def _clean(standing: Fragile) -> None:
    for container in standing.containers():
        status, answer = standing.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")
        assert status in (204, 404), (container, answer)
    standing.remove_everything()
    for image in standing.get("/images/json"):
        if f"{IMAGE}:latest" not in image["RepoTags"]:
            standing.ask("DELETE", f"/images/{image['Id']}?force=1")
