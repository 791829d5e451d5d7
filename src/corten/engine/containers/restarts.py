"""What follows the end of a run. Pure.

Restart policies are Docker's: a container that ends is started again after 100 ms, then twice as long each time up to a
minute; a run of ten seconds begins the count anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from corten.engine.containers.records import Record

FIRST_DELAY, LONGEST_DELAY, GOOD_RUN = 0.1, 60.0, 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Rest:
    """It has exited and stays."""


@dataclass(frozen=True, slots=True)
class Remove:
    """--rm."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after `delay` seconds; `math.inf`: when what it waits for is there."""

    delay: float


Decision = Rest | Remove | Restart


def decide(record: Record, status: int, lasted: float, last_delay: float) -> Decision:
    """What follows a run that ended with exit code `status` after `lasted` seconds; `last_delay` are the seconds that
    its start had been put off for, 0 when a client started it."""
    if _starts_again(record, status):
        delay = 0.0 if lasted >= GOOD_RUN else last_delay
        return Restart(min(delay * 2 or FIRST_DELAY, LONGEST_DELAY))
    return Remove() if record.host_config.auto_remove else Rest()


def _starts_again(record: Record, status: int) -> bool:
    policy = record.host_config.restart_policy
    if record.stopped:
        return False
    match policy.name:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            limit = policy.maximum_retry_count
            return status != 0 and (limit == 0 or record.restart_count < limit)
        case _:
            return False


def starts_with_daemon(record: Record) -> bool:
    """An exited container that a new daemon starts. "always" starts even what a client had stopped; what was never
    started is not started by itself."""
    policy = record.host_config.restart_policy.name
    if record.state.status != "exited":
        return False
    return policy == "always" or (policy == "unless-stopped" and not record.stopped)
