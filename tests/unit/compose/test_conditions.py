"""What a container's state says to those who wait for it."""

from __future__ import annotations

import pytest

from corten.compose.execute.conditions import Failed, Met, Pending, verdict
from corten.compose.plan.operations import HEALTHY, Await

PREFIX = "dependency failed to start: container p-db-1"


@pytest.mark.parametrize(
    ("status", "health", "said"),
    [
        ("running", "starting", Pending()),
        ("running", "healthy", Met()),
        ("running", "unhealthy", Failed(f"{PREFIX} is unhealthy")),
        ("restarting", "unhealthy", Pending()),  # it does not run for the moment
        ("exited", "unhealthy", Failed(f"{PREFIX} exited (3)")),
        ("running", "", Failed(f"{PREFIX} has no healthcheck configured")),
    ],
)
def test_healthy(status: str, health: str, said: Met | Pending | Failed) -> None:
    state = {"Status": status, "ExitCode": 3, "Health": {"Status": health}}
    assert verdict(Await("db", "p-db-1", "1" * 64, HEALTHY), state) == said
