"""What a container's state says of a condition that is waited for; pure."""

from __future__ import annotations

import msgspec

from corten.compose.plan.operations import COMPLETED, HEALTHY, Await

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Json = dict[str, Any]
    Verdict: TypeAlias = "Met | Pending | Failed"

#: Actions of containers' events after which a condition can be another one.
TELLING = ("start", "die", "stop", "kill", "oom", "destroy", "pause", "unpause", "restart")


class Met(msgspec.Struct, frozen=True):
    pass


class Pending(msgspec.Struct, frozen=True):
    pass


class Failed(msgspec.Struct, frozen=True):
    why: str


def tells(action: str) -> bool:
    return action in TELLING or action.startswith("health_status")


def verdict(step: Await, state: Json) -> Verdict:
    """`state` is State of the container's inspect."""
    status, code = state.get("Status"), state.get("ExitCode", 0)
    health = (state.get("Health") or {}).get("Status", "")
    if step.condition == COMPLETED:
        if status not in ("exited", "dead"):
            return Pending()
        if code == 0:
            return Met()
        return Failed(f'service "{step.service}" didn\'t complete successfully: exit {code}')
    prefix = "dependency failed to start: " if step.condition == HEALTHY else ""
    if status in ("exited", "dead", "removing"):
        return Failed(f"{prefix}container {step.name} exited ({code})")
    if not health or health == "none":
        if step.condition == HEALTHY:
            return Failed(f"{prefix}container {step.name} has no healthcheck configured")
        return Met() if status == "running" else Pending()
    if health == "unhealthy" and status == "restarting":  # because it does not run: its check has not said so
        return Pending()
    if health == "unhealthy":
        return Failed(f"{prefix}container {step.name} is unhealthy")
    return Met() if health == "healthy" else Pending()
