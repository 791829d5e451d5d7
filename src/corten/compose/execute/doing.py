"""How each operation of a plan is done: its requests.

What few plans have is loaded with the first such operation: `down` makes nothing, and starts the sooner.
"""

from __future__ import annotations

import threading

from corten.client import containers, networks
from corten.client.errors import ApiError
from corten.compose.execute.running import Running
from corten.compose.plan import operations as ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.client.api import Client
    from corten.compose.execute.making import Making
    from corten.compose.execute.preparing import Preparing
    from corten.compose.execute.reports import Report
    from corten.compose.model import Hook, Project
    from corten.compose.observed import Observed


class Doing:
    """`keep_volumes`: a container that replaces another one gets its anonymous volumes. `before_start` is called with
    a client, and a container's service, name and id."""

    def __init__(self, project: Project, observed: Observed, report: Report, keep_volumes: bool = True) -> None:
        self.project = project
        self.observed = observed
        self.keep_volumes = keep_volumes
        self.before_start: Callable[[Client, str, str, str], None] = lambda client, service, name, id: None
        self._report = report
        self.running = Running()
        self._lock = threading.Lock()
        self._making: Making | None = None
        self._preparing: Preparing | None = None

    @property
    def making(self) -> Making:
        """What makes containers, networks and volumes."""
        with self._lock:
            if self._making is None:
                from corten.compose.execute.making import Making

                self._making = Making(self.project, self.observed, self._report, self.keep_volumes)
            return self._making

    @property
    def preparing(self) -> Preparing:
        """What runs programs before a container is started."""
        making = self.making
        with self._lock:
            if self._preparing is None:
                from corten.compose.execute.preparing import Preparing

                self._preparing = Preparing(making)
            return self._preparing

    def end(self) -> None:
        """The programs that run at the moment; of use in a handler of a signal."""
        self.running.end()
        if self._preparing is not None:
            self._preparing.end()

    def id_of(self, ref: str) -> str:
        """Of a container that an operation names: itself where it was there before, else what was made of that name."""
        return ref if self._making is None else self._making.ids.get(ref, ref)

    def __call__(self, client: Client, operation: ops.Operation) -> None:
        """Raises ApiError, Refused."""
        done = operation.done
        match operation:
            case ops.CreateNetwork():
                self.making.network(client, operation)
            case ops.RemoveNetwork():
                done = _remove_network(client, operation)
            case ops.CreateVolume():
                self.making.volume(client, operation)
            case ops.RemoveVolume():
                done = _remove_volume(client, operation.name)
            case ops.RemoveImage():
                done = _remove_image(client, operation.name)
            case ops.Create():
                self.making.container(client, operation)
            case ops.Rename():
                _rename(client, self.id_of(operation.ref or operation.name), operation.name)
            case ops.Prepare():
                self.preparing.run(client, operation, self.id_of(operation.ref))
            case ops.Start():
                self._start(client, operation)
            case ops.Stop():
                self._stop(client, operation)
            case ops.Remove():
                _remove(client, self.id_of(operation.ref), operation)
            case ops.Restart():
                containers.restart(client, self.id_of(operation.ref), operation.seconds)
            case ops.Signal():
                _signal(client, self.id_of(operation.ref), operation.signal)
            case ops.Pause():
                containers.pause(client, self.id_of(operation.ref))
            case ops.Unpause():
                containers.unpause(client, self.id_of(operation.ref))
            case ops.TakeBack():
                self._take_back(operation)
            case ops.Await() | ops.Leave():
                pass
        if done:
            self._report.event(operation.object, operation.name, done)

    def _start(self, client: Client, step: ops.Start) -> None:
        id = self.id_of(step.ref)
        self.before_start(client, step.service, step.name, id)
        containers.start(client, id)
        service = self.project.services.get(step.service)
        _run_hooks(client, id, step.name, service.post_start if service is not None else ())

    def _stop(self, client: Client, step: ops.Stop) -> None:
        id = self.id_of(step.ref)
        service = self.project.services.get(step.service)
        try:
            _run_hooks(client, id, step.name, service.pre_stop if service is not None else ())
            containers.stop(client, id, step.seconds)
        except ApiError as error:
            if error.status != 404:  # another client has removed it
                raise

    def _take_back(self, step: ops.TakeBack) -> None:
        from corten.compose.execute import providers

        providers.run(self.project, self.project.services[step.service], "down", self._report, self.running)


def _run_hooks(client: Client, id: str, name: str, hooks: tuple[Hook, ...]) -> None:
    if hooks:
        from corten.compose.execute.hooks import run_hook

        for hook in hooks:
            run_hook(client, id, name, hook)


def _remove(client: Client, id: str, step: ops.Remove) -> None:
    try:
        containers.remove(client, id, step.force, step.volumes)
    except ApiError as error:
        # 409: it is being removed already, by another client or by itself.
        if error.status != 404 and not (error.status == 409 and "in progress" in str(error)):
            raise


def _rename(client: Client, id: str, name: str) -> None:
    try:
        containers.rename(client, id, name)
    except ApiError:
        # Another `up` of the same project was first: it has made the same container, and finished with it.
        if containers.inspect(client, id)["Name"] != f"/{name}":
            raise


def _signal(client: Client, id: str, signal: str) -> None:
    containers.kill(client, id, signal)


IN_USE = "Resource is still in use"


def _remove_network(client: Client, step: ops.RemoveNetwork) -> str:
    try:
        networks.remove(client, step.id)
    except ApiError as error:
        if error.status == 404:
            return "Warning: No resource found to remove"
        if error.status in (403, 409):
            return IN_USE
        raise
    return step.done


def _remove_volume(client: Client, name: str) -> str:
    from corten.client import volumes

    try:
        volumes.remove(client, name, force=True)
    except ApiError as error:
        if error.status == 409:
            return IN_USE
        raise
    return "Removed"


def _remove_image(client: Client, name: str) -> str:
    from corten.client import images

    try:
        images.remove(client, name, force=False, no_prune=False)
    except ApiError as error:
        if error.status == 404:
            return "Warning: No resource found to remove"
        if error.status == 409:
            return IN_USE
        raise
    return "Removed"
