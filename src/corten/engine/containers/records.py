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
from corten.spec.json import Json
from corten.store.table import Table

Status = Literal["created", "running", "paused", "restarting", "exited", "removing", "dead"]
KIND = "container"


class State(msgspec.Struct, omit_defaults=True):
    """`status` says all; Docker's Running, Paused ... are read off it. Times are nanoseconds since the epoch."""

    status: Status = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
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
    network_namespace  inode of the namespace that the present run, or the last one, was put into; 0 is not known
    machine       the image's platform, when this machine's processor cannot run it; "" otherwise
    sandbox       the container in whose network the present run, or the last one, is; "" for its own
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
    table.put(KIND, record.id, msgspec.to_builtins(record, enc_hook=Struct.to_json))


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
