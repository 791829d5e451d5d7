"""The kinds of operations. Each says what it is about (`object`), and in one line what it does (`str`).

What happened is reported with `doing` and `done`, in Docker's words: " Container demo-web-1  Creating".
"""

from __future__ import annotations

import msgspec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

STARTED, HEALTHY, COMPLETED = "service_started", "service_healthy", "service_completed_successfully"
READY = "running_or_healthy"  # of `--wait`


class CreateNetwork(msgspec.Struct, frozen=True):
    key: str
    name: str
    object, doing, done = "Network", "Creating", "Created"

    def __str__(self) -> str:
        return f"create network {self.name}"


class RemoveNetwork(msgspec.Struct, frozen=True):
    name: str
    id: str
    object, doing, done = "Network", "Removing", "Removed"

    def __str__(self) -> str:
        return f"remove network {self.name}"


class CreateVolume(msgspec.Struct, frozen=True):
    key: str
    name: str
    object, doing, done = "Volume", "Creating", "Created"

    def __str__(self) -> str:
        return f"create volume {self.name}"


class RemoveVolume(msgspec.Struct, frozen=True):
    name: str
    object, doing, done = "Volume", "Removing", "Removed"

    def __str__(self) -> str:
        return f"remove volume {self.name}"


class RemoveImage(msgspec.Struct, frozen=True):
    name: str
    object, doing, done = "Image", "Removing", "Removed"

    def __str__(self) -> str:
        return f"remove image {self.name}"


class Create(msgspec.Struct, frozen=True):
    """A container of a service. `replaces` is the id of the one in whose place it comes: it is made beside that one,
    with another name until that is gone."""

    service: str
    name: str
    number: int
    replaces: str = ""
    object = "Container"

    @property
    def doing(self) -> str:
        return "Recreate" if self.replaces else "Creating"

    @property
    def done(self) -> str:
        return "" if self.replaces else "Created"

    @property
    def temporary(self) -> str:
        return f"{self.replaces[:12]}_{self.name}" if self.replaces else self.name

    def __str__(self) -> str:
        return f"create container {self.temporary}"


class Rename(msgspec.Struct, frozen=True):
    """The new container gets the name that the old one had. `ref` is its id where it was there before the plan."""

    name: str
    temporary: str
    ref: str = ""
    object, doing, done = "Container", "", "Recreated"

    def __str__(self) -> str:
        return f"rename container {self.temporary} to {self.name}"


class Prepare(msgspec.Struct, frozen=True):
    """Run these of the service's pre_start hooks, by their places, before the container is started."""

    service: str
    name: str
    ref: str
    number: int
    hooks: tuple[int, ...]
    object, doing, done = "Container", "Preparing", "Prepared"

    def __str__(self) -> str:
        return f"run pre_start {', '.join(str(each + 1) for each in self.hooks)} for container {self.name}"


class Start(msgspec.Struct, frozen=True):
    service: str
    name: str
    ref: str
    object, doing, done = "Container", "Starting", "Started"

    def __str__(self) -> str:
        return f"start container {self.name}"


class Stop(msgspec.Struct, frozen=True):
    """`seconds` None is what the container itself says."""

    service: str
    name: str
    ref: str
    seconds: int | None = None
    quiet: bool = False
    object = "Container"

    @property
    def doing(self) -> str:
        return "" if self.quiet else "Stopping"

    @property
    def done(self) -> str:
        return "" if self.quiet else "Stopped"

    def __str__(self) -> str:
        return f"stop container {self.name}"


class Remove(msgspec.Struct, frozen=True):
    name: str
    ref: str
    volumes: bool = False
    force: bool = True
    quiet: bool = False
    object = "Container"

    @property
    def doing(self) -> str:
        return "" if self.quiet else "Removing"

    @property
    def done(self) -> str:
        return "" if self.quiet else "Removed"

    def __str__(self) -> str:
        return f"remove container {self.name}"


class Restart(msgspec.Struct, frozen=True):
    service: str
    name: str
    ref: str
    seconds: int | None = None
    object, doing, done = "Container", "Restarting", "Started"

    def __str__(self) -> str:
        return f"restart container {self.name}"


class Signal(msgspec.Struct, frozen=True):
    name: str
    ref: str
    signal: str
    object, doing, done = "Container", "Killing", "Killed"

    def __str__(self) -> str:
        return f"send {self.signal} to container {self.name}"


class Pause(msgspec.Struct, frozen=True):
    name: str
    ref: str
    object, doing, done = "Container", "Pausing", "Paused"

    def __str__(self) -> str:
        return f"pause container {self.name}"


class Unpause(msgspec.Struct, frozen=True):
    name: str
    ref: str
    object, doing, done = "Container", "Unpausing", "Unpaused"

    def __str__(self) -> str:
        return f"unpause container {self.name}"


class Await(msgspec.Struct, frozen=True):
    """Go on once the container is as `condition` says. What is not `required` may fail, with a warning;
    `met`: it was so when all was looked at."""

    service: str
    name: str
    ref: str
    condition: str
    required: bool = True
    met: bool = False
    object, doing = "Container", "Waiting"

    @property
    def done(self) -> str:
        return "Exited" if self.condition == COMPLETED else "Healthy"

    def __str__(self) -> str:
        return f"wait for container {self.name}: {self.condition}"


class TakeBack(msgspec.Struct, frozen=True):
    """Run the program that provides a service, which takes back what it has made."""

    service: str
    object, doing, done = "Service", "Removing", "Removed"

    @property
    def name(self) -> str:
        return self.service

    def __str__(self) -> str:
        return f"take back service {self.service}"


class Leave(msgspec.Struct, frozen=True):
    """Nothing is to be done; it is said all the same."""

    name: str
    object, doing, done = "Container", "", "Running"

    def __str__(self) -> str:
        return f"leave container {self.name}"


if TYPE_CHECKING:
    Operation: TypeAlias = (
        CreateNetwork
        | RemoveNetwork
        | CreateVolume
        | RemoveVolume
        | RemoveImage
        | Create
        | Rename
        | Prepare
        | Start
        | Stop
        | Remove
        | Restart
        | Signal
        | Pause
        | Unpause
        | Await
        | TakeBack
        | Leave
    )
