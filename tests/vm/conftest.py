from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.vm.template import Template
from e2e_parts.patience import LIMIT
from vm import agents, machines

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(LIMIT))


@pytest.fixture(scope="session")
def saved() -> Iterator[Template]:
    """One boot for all tests of a run: a template whose clones evaluate what they are sent."""
    if lacking := machines.missing():
        pytest.skip(lacking)
    with machines.made() as template:
        yield template


@pytest.fixture(scope="session")
def agents_template() -> Iterator[Template]:
    """The same, whose clones run the agent."""
    if lacking := agents.missing():
        pytest.skip(lacking)
    with machines.made("corten.guest.init") as template:
        yield template


@pytest.fixture
def guest(saved: Template) -> Iterator[machines.Evaluating]:
    with machines.cloned(saved) as found:
        yield found
