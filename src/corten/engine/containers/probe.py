"""The health of a container: what the exit codes of its check add up to.

States are Docker's: starting, healthy after one success, unhealthy after `Retries` failures in a row. Failures within
the start period do not count until the first success.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Literal

from corten.spec.docker import times
from corten.spec.docker.config import Config, HealthConfig
from corten.spec.json import Json
from corten.units.durations import SECOND

Health = Literal["starting", "healthy", "unhealthy"]
_KEPT = 5
_DEFAULT_SHELL = ["/bin/sh", "-c"]


class Probe:
    """The health of one run. `check` is Docker's HealthConfig; its times are nanoseconds, 0 for the default."""

    def __init__(self, check: HealthConfig, shell: list[str] | None = None) -> None:
        self.status: Health = "starting"
        self.streak = 0
        self.results: deque[Json] = deque(maxlen=_KEPT)
        self.interval = (check.interval or 30 * SECOND) / SECOND
        self.timeout = (check.timeout or 30 * SECOND) / SECOND
        self.start_period = check.start_period / SECOND
        self.start_interval = (check.start_interval or 5 * SECOND) / SECOND
        self.retries = check.retries or 3
        self.command = _command(check.test or [], shell or _DEFAULT_SHELL)
        self.task: asyncio.Task[None] | None = None
        self.adopted = False
        self._begun = time.monotonic()

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            self.task = None

    def end(self) -> None:
        """Its run is over: as Docker says it, nothing that does not run is healthy."""
        self.stop()
        self.status = "unhealthy"

    @property
    def taken_for_healthy(self) -> bool:
        """Of a run that an earlier daemon has begun, until its check says something."""
        return self.adopted and self.status == "starting"

    @property
    def starting(self) -> bool:
        return self.status == "starting" and time.monotonic() - self._begun < self.start_period

    def pause(self) -> float:
        """Seconds to the next probe."""
        return min(self.interval, self.start_interval) if self.starting else self.interval

    def note(self, exit_code: int, output: str, began: int) -> bool:
        """Count one result; True when the health changed."""
        old = self.status
        self.results.append(
            {
                "Start": times.rfc3339(began),
                "End": times.rfc3339(times.now()),
                "ExitCode": exit_code,
                "Output": output[:4096],
            }
        )
        if exit_code == 0:
            self.status, self.streak = "healthy", 0
        elif not self.starting:
            self.streak += 1
            if self.streak >= self.retries:
                self.status = "unhealthy"
        return self.status != old

    def shown(self) -> Json:
        return {"Status": self.status, "FailingStreak": self.streak, "Log": list(self.results)}

    def suffix(self) -> str:
        """What `docker ps` puts behind "Up 5 minutes"."""
        return " (health: starting)" if self.status == "starting" else f" ({self.status})"


def _command(test: list[str], shell: list[str]) -> list[str]:
    if not test or test[0] == "NONE":
        return []
    return [*shell, " ".join(test[1:])] if test[0] == "CMD-SHELL" else test[1:]


def make_probe(config: Config) -> Probe | None:
    """The probe of a container's config; None when it has none, or one that is switched off."""
    probe = Probe(config.healthcheck or HealthConfig(), config.shell)
    return probe if probe.command else None
