from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from corten.supervisor import reserve


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """Eighty are free but for those that are kept, however many this process has open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.dup(0) for _ in range(80)]
    for number in free:
        os.close(number)
    first_kept = free[-1] + 1
    most = first_kept + min(reserve.KEPT, first_kept // 3)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
