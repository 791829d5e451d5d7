"""Events of volumes, named and anonymous: `mount` at a container's start, `unmount` at its end, and both around a copy
into or out of it. Binds have none."""

from __future__ import annotations

from contextlib import AsyncExitStack

from corten.engine.containers.container import Container
from corten.engine.events import Events
from corten.plan.facts import MountPoint


class MountedVolumes:
    """What is on the stack of a run, or of a copy, for them: an `unmount` for each `mount` that has been published.

    It is pushed before the networks, so that it comes after their `disconnect`, as dockerd's does.
    """

    def __init__(self, events: Events, container: Container, stack: AsyncExitStack) -> None:
        self._events, self._id = events, container.id
        self._volumes = [point for point in container.record.mounts if point.type == "volume"]
        self._mounted: list[MountPoint] = []
        stack.callback(self._unmounted)

    def mounted(self) -> None:
        """The container has them."""
        for point in self._volumes:
            more = {"destination": point.destination, "read/write": str(point.rw).lower(), "propagation": ""}
            self._publish("mount", point, more)
        self.adopted()

    def adopted(self) -> None:
        """It has had them since an earlier daemon's time."""
        self._mounted = self._volumes

    def _unmounted(self) -> None:
        for point in self._mounted:
            self._publish("unmount", point, {})

    def _publish(self, action: str, point: MountPoint, more: dict[str, str]) -> None:
        attributes = {"driver": point.driver or "local", "container": self._id, **more}
        self._events.publish("volume", action, point.name, attributes)
