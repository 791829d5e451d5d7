from __future__ import annotations

import pytest

from corten.errors import Invalid
from corten.plan.validate.order import MOST, check_start_after
from corten.spec.docker.host_config import HostConfig, RestartPolicy, StartAfter

ALWAYS = RestartPolicy(name="always")


@pytest.mark.parametrize("condition", ["", "started", "healthy", "completed"])
def test_what_can_be_waited_for(condition: str) -> None:
    edges = [StartAfter(container="db", condition=condition)]
    assert check_start_after(HostConfig(start_after=edges, restart_policy=ALWAYS)) == []


@pytest.mark.parametrize("policy", ["", "no", "on-failure"])
def test_a_policy_that_starts_it_with_no_daemon(policy: str) -> None:
    host = HostConfig(start_after=[StartAfter(container="db")], restart_policy=RestartPolicy(name=policy))
    (warning,) = check_start_after(host)
    assert "StartAfter has no effect" in warning


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([StartAfter(condition="started")], "has no name"),
        ([StartAfter(container="db", condition="service_healthy")], "'service_healthy' is none of started, healthy"),
        ([StartAfter(container="db\n")], "container to start after"),
        ([StartAfter(container="db")] * (MOST + 1), f"after {MOST} others"),
    ],
)
def test_what_is_refused(edges: list[StartAfter], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        check_start_after(HostConfig(start_after=edges, restart_policy=ALWAYS))
