"""`pre_start`: programs that run before a container is started for the first time, each in a container of its own.

Such a container is of the service's image or of one that the hook names, has the mounts of the service's container (by
volumes_from) and is in the same networks, without the service's names and ports. It is removed when its program has
ended with 0, and kept when it has failed: the next `up` replaces it, and `down` takes it away.
"""

from __future__ import annotations

import threading

from msgspec.structs import replace

from corten.client import containers
from corten.client.errors import ApiError
from corten.client.stdcopy import Frames
from corten.compose import labels
from corten.compose.execute.making import put
from corten.compose.model import Healthcheck, Hook, Project, Service
from corten.compose.refusals import Refused
from corten.compose.requests import container as requests
from corten.compose.requests.container import Made
from corten.compose.requests.mounts import placed
from corten.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.api import Client
    from corten.compose.execute.making import Making
    from corten.compose.plan.operations import Prepare

_LINES = "20"  # of what a program has said, that are shown when it fails
_KEPT = 4096  # bytes
INTERRUPTED = 130


def name_of(project: Project, service: str, number: int, index: int) -> str:
    """A container for each hook, and for each replica where the hook is of replicas."""
    return f"{project.name}-{service}-pre_start-{f'{number}-' if number > 1 else ''}{index}"


def prepared(service: Service, hook: Hook, container: str) -> Service:
    """The service whose container runs the hook beside `container`, an id."""
    networks = {
        key: None if given is None else replace(given, ipv4_address="", ipv6_address="", mac_address="", aliases=())
        for key, given in service.networks.items()
    }
    return replace(
        service,
        image=hook.image or service.image,
        command=hook.command,
        entrypoint=None if hook.image else service.entrypoint,
        user=hook.user or service.user,
        working_dir=hook.working_dir or service.working_dir,
        privileged=hook.privileged or service.privileged,
        environment={**service.environment, **hook.environment},
        networks=networks,
        volumes=(),
        volumes_from=(f"container:{container}",),
        ports=(),
        expose=(),
        links=(),
        depends_on={},
        container_name="",
        mac_address="",
        restart="no",
        deploy=None if service.deploy is None else replace(service.deploy, restart_policy=None, replicas=None),
        healthcheck=Healthcheck(disable=True),
        tty=False,
        stdin_open=False,
    )


class Preparing:
    """Of use to several threads; `end` is for Ctrl-C."""

    def __init__(self, making: Making) -> None:
        self._making = making
        self._lock = threading.Lock()
        self._running: dict[str, Client] = {}
        self._ended = False

    def run(self, client: Client, step: Prepare, id: str) -> None:
        """The step's hooks, in order, for the container `id`. Raises Refused when one fails."""
        service = self._making.project.services[step.service]
        for index in step.hooks:
            hook = service.pre_start[index]
            name = name_of(self._making.project, step.service, step.number if hook.per_replica else 1, index)
            made = self._create(client, prepared(service, hook, id), hook, name, index)
            self._go(client, made, name, f"service {step.service}: pre_start {index + 1}")

    def end(self) -> None:
        with self._lock:
            self._ended = True
            running = dict(self._running)
        for id, client in running.items():
            threading.Thread(target=_kill, args=(client, id), daemon=True).start()

    def _create(self, client: Client, service: Service, hook: Hook, name: str, index: int) -> str:
        project = self._making.project
        version = tuple(int(part) for part in client.version.split("."))
        made = Made(
            name=name,
            number=0,
            hash="",
            image="",
            ids=self._making.first_ids(service),
            oneoff=True,
            aliases=False,
        )
        body = requests.container(project, service, made, version)
        body = body.replace(labels={**service.labels, **_labels(project, service, index)})
        try:
            containers.remove(client, name, force=True, volumes=True)
        except ApiError as error:
            if error.status != 404:
                raise
        id = str(containers.create(client, name, body, "" if hook.image else service.platform)["Id"])
        if version < (1, 44):
            self._making.connect(client, service, made, id, version)
        put(client, id, placed(project, service))
        return id

    def _go(self, client: Client, id: str, name: str, what: str) -> None:
        with self._lock:
            if self._ended:
                raise Refused("", INTERRUPTED)
            self._running[id] = client
        try:
            code = _ended(client, id)
        finally:
            with self._lock:
                del self._running[id]
        if code and not self._ended:
            said = _said(client, id)
            raise Refused(
                f"{what} exited with status {code}{f': {said}' if said else ''}; its container {name} is kept, see "
                "its logs; the next up runs it again"
            )
        containers.remove(client, id, force=True, volumes=True)
        if self._ended:
            raise Refused("", INTERRUPTED)


def _labels(project: Project, service: Service, index: int) -> dict[str, str]:
    """By which `down` finds it, and `ps` does not take it for one of the service's."""
    return {
        labels.PROJECT: project.name,
        labels.SERVICE: service.name,
        labels.VERSION: labels.SPOKEN,
        labels.ONEOFF: "True",
        labels.HOOK: labels.PRE_START,
        labels.HOOK_INDEX: str(index),
    }


def _ended(client: Client, id: str) -> int:
    """Start it; the exit code. The daemon waits for its end before it begins, however short it is."""
    waiting = containers.begin_wait(client, id, "next-exit")
    try:
        registered = client.receive(waiting, "POST") if client.at_least("1.30") else None  # older ones send no head
        containers.start(client, id)
        return int((registered or client.receive(waiting, "POST")).json()["StatusCode"])
    finally:
        waiting.close()


def _kill(client: Client, id: str) -> None:
    beside = client.another()
    try:
        containers.kill(beside, id)
    except (CortenError, OSError):
        return  # it has ended, or the daemon has: what waits for it learns that
    finally:
        beside.close()


def _said(client: Client, id: str) -> str:
    """The end of its output."""
    frames, said = Frames(), b""
    try:
        answer = containers.logs(client, id, {"stdout": "1", "stderr": "1", "tail": _LINES})
        try:
            for data in answer.parts():
                for _, part in frames.feed(data):
                    said = (said + bytes(part))[-_KEPT:]
        finally:
            answer.close()
    except CortenError:
        return ""
    return said.decode("utf-8", "replace").strip()
