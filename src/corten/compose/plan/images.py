"""Which images are pulled and which are built before a plan is made; pure."""

from __future__ import annotations

import msgspec

from corten.compose.refusals import Refused
from corten.units.durations import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from corten.compose.model import Project, Service

PULL, BUILD, PULL_OR_BUILD = "pull", "build", "pull or build"
_DAY = 86_400.0
_POLICIES = ("", "always", "never", "missing", "if_not_present", "build")


class Wanted(msgspec.Struct, frozen=True):
    """What is to be done for a service's image, and why."""

    service: str
    image: str
    action: str
    cause: str


class Present(msgspec.Struct, frozen=True):
    """An image that the engine has; `age` is how many seconds ago it got its name, None where that is not known."""

    id: str
    age: float | None = None


def wanted(
    project: Project,
    services: Iterable[Service],
    present: Mapping[str, Present],
    build: bool = False,
    no_build: bool = False,
    policy: str = "",
) -> tuple[Wanted, ...]:
    """`build` and `policy` are --build and --pull. Raises Refused for a policy that there is not."""
    found = []
    for service in services:
        if service.provider is None:
            action, cause = _action(project, service, present, build, no_build, policy)
            if action:
                found.append(Wanted(service.name, project.image_of(service), action, cause))
            for image in hook_images(service):
                if image not in present:
                    found.append(Wanted(service.name, image, PULL, f"image {image} is not there"))
    return tuple(found)


def needed(project: Project) -> list[str]:
    """The names of all images of containers."""
    services = [each for each in project.services.values() if each.provider is None]
    return [name for each in services for name in (project.image_of(each), *hook_images(each))]


def hook_images(service: Service) -> list[str]:
    """Of pre_start."""
    return [hook.image for hook in service.pre_start if hook.image]


def _action(
    project: Project, service: Service, present: Mapping[str, Present], build: bool, no_build: bool, policy: str
) -> tuple[str, str]:
    given = policy or service.pull_policy
    refresh = _refresh(given)
    image = project.image_of(service)
    known = present.get(image)
    can_build = service.build is not None and not no_build
    if can_build and build:
        return BUILD, "it was asked for (--build)"
    if can_build and given == "build":
        return BUILD, "pull_policy: build"
    if given == "always" and service.image:
        return (PULL_OR_BUILD if can_build else PULL), "pull_policy: always" if not policy else "--pull always"
    if known is not None:
        if refresh is not None and service.image and (known.age is None or known.age > refresh):
            return PULL, f"pull_policy: {given}, and it is older"
        return "", ""
    if can_build and (not service.image or given == "never"):
        return BUILD, f"image {image} is not there"
    if given == "never" or not service.image:
        return "", ""  # what that means is said by the engine
    return (PULL_OR_BUILD if can_build else PULL), f"image {image} is not there"


def _refresh(policy: str) -> float | None:
    """Seconds after which an image is pulled again."""
    if policy in _POLICIES:
        return None
    if policy in ("daily", "weekly"):
        return _DAY if policy == "daily" else 7 * _DAY
    if policy.startswith("every_"):
        text = policy.removeprefix("every_")
        try:
            number = text.rstrip("wd")
            if number != text:
                return float(number) * (7 * _DAY if text.endswith("w") else _DAY)
            return parse_duration(text) / 1e9
        except ValueError:
            pass
    raise Refused(f"unknown pull policy {policy!r}: must be always, missing, never, build, daily, weekly or every_TIME")
