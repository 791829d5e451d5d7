from __future__ import annotations

from collections.abc import Iterator

import pytest

from fault_parts.fixtures import enduring, shared, standing
from fault_parts.fragile import Fragile

__all__ = ["daemon", "enduring", "shared", "standing"]


@pytest.fixture
def daemon(shared: Fragile) -> Iterator[Fragile]:
    """A daemon that other tests of the file have used, and left as it was."""
    yield shared
