from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """A hundred are free."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.dup(0) for _ in range(100)]
    for number in free:
        os.close(number)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1] + 1, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
