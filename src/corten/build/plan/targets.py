"""The platforms that a build is for. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from corten.build.contract import BuildRequest
from corten.build.plan.planner import Planned
from corten.errors import Invalid
from corten.spec import platform as platforms
from corten.spec.dockerfile.check_rules import Finding
from corten.spec.platform import Platform

_MOST = 32


def of(request: BuildRequest) -> tuple[Platform, ...]:
    """Each once, in the order in which they are asked for. Raises Invalid."""
    if not request.platform:
        return (platforms.host(),)
    found = tuple(dict.fromkeys(platforms.runnable(text.strip()) for text in request.platform.split(",")))
    if len(found) > _MOST:
        raise Invalid(f"a build can be for {_MOST} platforms, not {len(found)}")
    if request.classic and len(found) > 1:
        raise Invalid("the classic builder is for one platform at a time; docker buildx and corten build do several")
    return found


def findings(planned: Sequence[Planned]) -> tuple[Finding, ...]:
    """What the checks say of a Dockerfile, for each platform: what they say of several is said once."""
    return tuple(dict.fromkeys(finding for each in planned for finding in each.findings))
