"""Making what a project has: containers with the files that are put into them, networks, volumes."""

from __future__ import annotations

import io
import tarfile
import threading
import time

from corten.client import containers, networks, volumes
from corten.client.errors import ApiError
from corten.compose import hashes, labels
from corten.compose.requests import container as requests
from corten.compose.requests import shared
from corten.compose.requests.container import Made
from corten.compose.requests.endpoints import endpoints, sharing
from corten.compose.requests.mounts import Inherited, PlacedFile, placed
from corten.spec.docker.networking import ConnectRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from corten.client.api import Client
    from corten.compose.execute.reports import Report
    from corten.compose.model import Project, Service
    from corten.compose.observed import Observed
    from corten.compose.plan import operations as ops


class Making:
    """`ids` has those of the containers that were made, by their final names. Of use to several threads."""

    def __init__(self, project: Project, observed: Observed, report: Report, keep_volumes: bool = True) -> None:
        self.ids: dict[str, str] = {}
        self.project = project
        self.observed = observed
        self._keep_volumes = keep_volumes
        self._report = report
        self._lock = threading.Lock()
        self._of: dict[str, dict[int, tuple[str, str]]] = {}  # service to number to (name, id)
        for each in observed.containers:
            if not each.oneoff:
                self._of.setdefault(each.service, {})[each.number] = (each.name, each.id)

    def container(self, client: Client, step: ops.Create) -> None:
        service = self.project.services[step.service]
        made = self.made(service, step)
        version = tuple(int(part) for part in client.version.split("."))
        body = requests.container(self.project, service, made, version)
        try:
            answer = containers.create(client, step.temporary, body, service.platform)
        except ApiError as error:
            if error.status != 409:
                raise
            answer = {"Id": self._other(client, step, made, error)}
        id = str(answer["Id"])
        for warning in map(str, answer.get("Warnings") or ()):
            if not warning.startswith("StartAfter"):  # what it starts after is made beside it
                self._report.warning(warning)
        if version < (1, 44):
            self.connect(client, service, made, id, version)
        put(client, id, placed(self.project, service))
        with self._lock:
            self.ids[step.name] = id
            self._of.setdefault(step.service, {})[step.number] = (step.name, id)

    def made(self, service: Service, step: ops.Create) -> Made:
        """What is known of a container when it is made."""
        ids = self.first_ids(service)
        with self._lock:
            linked = {name: tuple(each[0] for _, each in sorted(found.items())) for name, found in self._of.items()}
        image = self.project.image_of(service)
        old = next((each for each in self.observed.containers if each.id == step.replaces), None)
        kept = old.volumes if old is not None and self._keep_volumes else ()
        return Made(
            name=step.name,
            number=step.number,
            hash=hashes.resolved(service, ids),
            image=self.observed.images.get(image, ""),
            replaces=old.name if old is not None else "",
            ids=ids,
            linked=linked,
            inherited=tuple(Inherited(each.name, each.target, each.read_only) for each in kept),
            image_volumes=self.observed.image_volumes.get(image, ()),
            balanced=self.observed.balances,
        )

    def first_ids(self, service: Service) -> dict[str, str]:
        """Of the first container of each service whose namespaces or volumes it shares."""
        with self._lock:
            first = {name: min(found.items())[1][1] for name, found in self._of.items() if found}
        return {name: first[name] for name in sharing(service) if name in first}

    def _other(self, client: Client, step: ops.Create, made: Made, error: ApiError) -> str:
        """The id of the container that has the name, where another `up` of the same project has just made it."""
        try:
            found = containers.inspect(client, step.temporary)
        except ApiError:
            raise error from None
        given: Mapping[str, str] = found["Config"].get("Labels") or {}
        ours = {labels.PROJECT: self.project.name, labels.SERVICE: step.service, labels.HASH: made.hash}
        if any(given.get(key) != value for key, value in ours.items()):
            raise error
        return str(found["Id"])

    def connect(self, client: Client, service: Service, made: Made, id: str, version: tuple[int, ...]) -> None:
        """Networks behind the first, which an older engine does not take when a container is created."""
        found = endpoints(self.project, service, made.name, made.number, made.linked, made.aliases, version)
        for name in list(found)[1:]:
            networks.connect(client, name, ConnectRequest(container=id, endpoint_config=found[name]))

    def network(self, client: Client, step: ops.CreateNetwork) -> None:
        given = self.project.networks[step.key]
        try:
            networks.create(client, shared.network(self.project, step.key, given, hashes.network_hash(given)))
        except ApiError as error:
            if error.status != 409:  # another `up` of the same project was first
                raise

    def volume(self, client: Client, step: ops.CreateVolume) -> None:
        given = self.project.volumes[step.key]
        volumes.create(client, shared.volume(self.project, step.key, given, hashes.volume_hash(given)))


def put(client: Client, id: str, files: tuple[PlacedFile, ...]) -> None:
    """Files into a container that is not started."""
    if not files:
        return
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for each in files:
            content = each.content.encode("utf-8", "surrogateescape")
            entry = tarfile.TarInfo(each.path.lstrip("/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(content), each.mode, each.uid, each.gid
            entry.mtime = int(time.time())
            tar.addfile(entry, io.BytesIO(content))
    containers.archive_put(client, id, "/", iter((buffer.getvalue(),)))
