"""What follows the end of a run, as a table."""

from __future__ import annotations

import pytest

from corten.engine.containers.records import Record, State
from corten.engine.containers.restarts import Decision, Remove, Rest, Restart, decide, starts_with_daemon
from corten.spec.docker.config import Config
from corten.spec.docker.host_config import HostConfig, RestartPolicy

FIRST, REST, REMOVE = Restart(0.1), Rest(), Remove()


def record(policy: str, limit: int = 0, count: int = 0, stopped: bool = False, remove: bool = False) -> Record:
    host = HostConfig(restart_policy=RestartPolicy(name=policy, maximum_retry_count=limit), auto_remove=remove)
    return Record("i", "n", 1, "img", "id", None, "true", [], Config(), host, restart_count=count, stopped=stopped)


@pytest.mark.parametrize(
    ("ended", "code", "decision"),
    [
        (record(""), 0, REST),
        (record("no"), 1, REST),
        (record("no", remove=True), 0, REMOVE),
        (record("no", remove=True, stopped=True), 137, REMOVE),
        (record("always"), 0, FIRST),
        (record("always", stopped=True), 0, REST),
        (record("unless-stopped"), 1, FIRST),
        (record("unless-stopped", stopped=True), 1, REST),
        (record("on-failure"), 0, REST),
        (record("on-failure"), 1, FIRST),
        (record("on-failure", count=50), 1, FIRST),
        (record("on-failure", limit=3, count=2), 1, FIRST),
        (record("on-failure", limit=3, count=3), 1, REST),
        (record("on-failure", limit=3, count=1, stopped=True), 1, REST),
    ],
)
def test_decisions(ended: Record, code: int, decision: Decision) -> None:
    assert decide(ended, code, lasted=0.0, last_delay=0.0) == decision


@pytest.mark.parametrize(
    ("lasted", "last", "delay"),
    [(0.0, 0.0, 0.1), (0.0, 0.1, 0.2), (9.9, 0.8, 1.6), (10.0, 0.8, 0.1), (0.0, 51.2, 60.0), (0.0, 60.0, 60.0)],
)
def test_delays_double_up_to_a_minute_and_begin_anew_after_a_good_run(lasted: float, last: float, delay: float) -> None:
    assert decide(record("always"), 0, lasted, last) == Restart(delay)


@pytest.mark.parametrize(
    ("policy", "status", "stopped", "starts"),
    [
        ("no", "exited", False, False),
        ("on-failure", "exited", False, False),
        ("always", "exited", False, True),
        ("always", "exited", True, True),
        ("always", "created", False, False),
        ("unless-stopped", "exited", False, True),
        ("unless-stopped", "exited", True, False),
    ],
)
def test_what_a_new_daemon_starts(policy: str, status: str, stopped: bool, starts: bool) -> None:
    old = record(policy, stopped=stopped)
    old.state = State(status)  # type: ignore[arg-type]
    assert starts_with_daemon(old) is starts
