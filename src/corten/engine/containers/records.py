"""What is known of a container beyond one run of the daemon, stored as JSON in the store's table of records.

A record is changed only by the container it belongs to, and stored before a client has an answer about the change: what
that a client has seen is on disk.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from corten.errors import Corrupt, Invalid
from corten.plan.facts import MountPoint
from corten.spec.docker.config import Config
from corten.spec.docker.decode import decode
from corten.spec.docker.host_config import HostConfig
from corten.spec.docker.networking import EndpointSettings
from corten.spec.docker.struct import Struct
from corten.spec.id_map import IdRange
from corten.spec.json import Json
from corten.store.table import Table

Status = Literal["created", "running", "paused", "restarting", "exited", "removing", "dead"]
KIND = "container"


class State(msgspec.Struct, omit_defaults=True):
    """`status` says all; Docker's Running, Paused ... are read off it. Times are nanoseconds since the epoch.

    `error` is why a start failed; with `ran`, why a run that had begun has ended, which is no failure of a wait.
    """

    status: Status = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    ran: bool = False
    oom_killed: bool = False
    started_at: int = 0
    finished_at: int = 0

    @property
    def running(self) -> bool:
        """Docker counts a paused container, and one that waits for its restart, as running."""
        return self.status in ("running", "paused", "restarting")

    @property
    def has_task(self) -> bool:
        return self.status in ("running", "paused")


class Membership(msgspec.Struct, omit_defaults=True):
    """What makes a container one of a pod's.

    pod      the pod's id, which is its sandbox's
    shares   kinds of namespaces that it has with the others: "network", "ipc", "uts", "pid"
    target   the container whose processes it is among instead, or ""
    log      where its output is kept, as Kubernetes reads it; "" for nowhere
    uids, gids  of the pod's user namespace; empty for the daemon's own rule
    ambient  capabilities that also a user other than root has
    idmapped destinations of binds whose owners are the pod's ids
    strict   its groups are those that it was given, whatever the image's group file says
    config   runtime.v1.ContainerConfig, as it was asked for
    """

    pod: str
    shares: list[str] = []
    target: str = ""
    log: str = ""
    uids: list[IdRange] = []
    gids: list[IdRange] = []
    ambient: list[str] = []
    idmapped: list[str] = []
    strict: bool = False
    config: Json = {}


class Record(msgspec.Struct, omit_defaults=True):
    """One container.

    image         the reference it was created with; `image_id` and `chain_id` are what that meant then
    config        Docker's Config, merged with the image's; `host_config` with defaults filled in
    networks      wanted endpoint settings by network name, in the order of connecting
    links         of --link on the default network: ids of containers by what this one calls them
    endpoints     what is connected now, as the network room can adopt it again: network name -> JSON
    mounts        what is mounted where; sources of volumes are filled in
    volume_mounts for volumes that are file systems, the number of the mount that the present run has, by name
    timing        seconds that the phases of the last start took
    stopped       a client stopped it: the policies "always" and "unless-stopped" look at this
    shown_macs    MAC addresses, by network, that clients below API 1.44 asked for: shown until it starts, no more
    network_namespace  inode of the namespace that the present run, or the last one, was put into; 0 is not known
    machine       the image's platform, when this machine's processor cannot run it; "" otherwise
    sandbox       the container in whose network the present run, or the last one, is; "" for its own
    pod           of a container in a pod
    """

    id: str
    name: str
    created: int
    image: str
    image_id: str
    chain_id: str | None
    path: str
    args: list[str]
    config: Config
    host_config: HostConfig
    networks: dict[str, EndpointSettings] = {}
    shown_macs: dict[str, str] = {}
    links: dict[str, str] = {}
    endpoints: dict[str, Json] = {}
    mounts: list[MountPoint] = []
    volume_mounts: dict[str, int] = {}
    platform: str = "linux"
    machine: str = ""
    state: State = msgspec.field(default_factory=State)
    restart_count: int = 0
    stopped: bool = False
    sandbox: str = ""
    network_namespace: int = 0
    timing: dict[str, float] = {}
    pod: Membership | None = None

    @property
    def tty(self) -> bool:
        return self.config.tty

    @property
    def images(self) -> set[str]:
        """Ids of those that it cannot be without."""
        return {self.image_id, *(point.source for point in self.mounts if point.type == "image")}

    @property
    def labels(self) -> dict[str, str]:
        return self.config.labels or {}


def save(table: Table, record: Record) -> None:
    """Of Docker's structures what was set: a zero value that nothing has set is read as one again."""
    table.put(KIND, record.id, msgspec.to_builtins(record, enc_hook=Struct.given_json))


def forget(table: Table, id: str) -> None:
    table.delete(KIND, id)


def load(table: Table) -> tuple[list[Record], list[Corrupt]]:
    """Every record, and an error for each that cannot be read: one broken record does not hide the others."""
    records, broken = [], []
    for id, body in table.list(KIND).items():
        try:
            records.append(msgspec.convert(body, Record, dec_hook=decode))
        except (msgspec.ValidationError, Invalid) as error:
            broken.append(Corrupt(f"record of container {id} cannot be read: {error}"))
    return records, broken
