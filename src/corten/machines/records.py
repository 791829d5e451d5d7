"""What is known of a machine beyond one run of the daemon, stored as JSON in the store's table of records."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Literal

import msgspec

from corten.errors import Corrupt, Invalid
from corten.spec.docker.decode import decode
from corten.spec.docker.machine import MachineCreate
from corten.spec.docker.networking import EndpointSettings
from corten.spec.docker.struct import Struct
from corten.spec.json import Json
from corten.store.table import Table
from corten.vm import board
from corten.vm.passthrough import Kind

KIND = "machine"
_SERIAL = re.compile(r"(disk[0-9]+|cloud-init)\Z")
Status = Literal["created", "incoming", "running", "paused", "exited", "removing"]


class State(msgspec.Struct, omit_defaults=True):
    """Times are nanoseconds since the epoch. `stopped`: a client ended the last run."""

    status: Status = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: int = 0
    finished_at: int = 0
    stopped: bool = False

    @property
    def running(self) -> bool:
        return self.status in ("running", "paused")


class Limits(msgspec.Struct, omit_defaults=True):
    """Of a disk: bytes and requests a second; 0: none."""

    read_bps: int = 0
    write_bps: int = 0
    read_iops: int = 0
    write_iops: int = 0


class Disk(msgspec.Struct, omit_defaults=True):
    """`serial` is how the guest finds it. `volume`: of the driver `disk`, "" for the CD of cloud-init, and for a drive
    without a CD, and for a block device of this host, whose path is `device`."""

    serial: str
    volume: str
    bus: str = "virtio"
    read_only: bool = False
    cdrom: bool = False
    limits: Limits = msgspec.field(default_factory=Limits)
    device: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """By which a client may mean it."""
        return tuple(filter(None, (self.serial, self.volume, self.device)))

    @property
    def empty(self) -> bool:
        return self.cdrom and not self.volume


class HostDevice(msgspec.Struct, frozen=True):
    """A device of this host that the machine drives by itself, as `vm.passthrough` has it; a USB device may be another
    one of that address with each start."""

    kind: Kind
    address: str

    @property
    def name(self) -> str:
        return f"{self.kind}={self.address}"


class Begun(msgspec.Struct, omit_defaults=True):
    """What a run has begun with: bytes of memory and processors, to which more are plugged in; and where each disk (by
    its serial), each interface (by `of_network`) and each of the host's devices (by its name, and `CONTROLLER` of those
    of USB) is, see `vm.board`, and `ports` how many there can be. A run that goes on from a state has the same."""

    memory: int = 0
    cpus: int = 0
    places: dict[str, int] = {}
    ports: int = board.PORTS


def of_network(network: str) -> str:
    """What the interface in this network is called among the places of `Begun`: as the network, but where a disk may be
    called so."""
    return f"network={network}" if _SERIAL.match(network) else network


def _named(begun: Begun, networks: Collection[str], disks: Sequence[Disk]) -> None:
    """One of an earlier version, which called every interface as its network."""
    serials = {disk.serial for disk in disks}
    for network in networks:
        if network in begun.places and network not in serials:
            begun.places[of_network(network)] = begun.places.pop(network)


class Snapshot(msgspec.Struct, omit_defaults=True):
    """`memory`: taken while it ran, and goes on from there. `bases`, of an external one: the volume that has what was
    on a disk, by its serial; without them QEMU keeps it in the disks' files. The rest is what the machine was then."""

    name: str
    created: int
    config: MachineCreate
    disks: list[Disk]
    networks: dict[str, EndpointSettings]
    begun: Begun
    addresses: dict[str, list[str]]
    memory: bool = False
    bases: dict[str, str] = {}

    @property
    def external(self) -> bool:
        return bool(self.bases)


class Record(msgspec.Struct, omit_defaults=True):
    """One machine.

    config      what it was created with, defaults filled in; memory and processors change with `update`
    networks    wanted endpoint settings by network name; `endpoints` what is connected now, as containers have them
    macs        of the interfaces, by network: a guest's configuration names them, so they stay
    addresses   of the last run, by network: the next one has them again where they are free
    backups     the last backup of each disk, a volume, by the disk's serial
    begun       of the present run, or of the one that was saved
    devices     of this host, but for block devices, which are disks
    saved       its memory and state are in the file `state`, and the next start goes on from there
    taking      the snapshot that QEMU writes to the disks: until it is recorded as one it is none
    reverting   the external snapshot that its disks are being put back to: a start of the daemon completes that
    """

    id: str
    name: str
    created: int
    uuid: str
    config: MachineCreate
    disks: list[Disk] = []
    networks: dict[str, EndpointSettings] = {}
    endpoints: dict[str, Json] = {}
    macs: dict[str, str] = {}
    addresses: dict[str, list[str]] = {}
    snapshots: list[Snapshot] = []
    backups: dict[str, str] = {}
    saved: bool = False
    taking: str = ""
    reverting: str = ""
    begun: Begun = msgspec.field(default_factory=Begun)
    devices: list[HostDevice] = []
    restart_count: int = 0
    state: State = msgspec.field(default_factory=State)

    @property
    def labels(self) -> dict[str, str]:
        return self.config.labels or {}

    @property
    def volumes(self) -> list[str]:
        """Those that it refers to, each before what it is based on."""
        disks = [disk.volume for disk in self.disks if disk.volume]
        return [*disks, *(base for one in reversed(self.snapshots) for base in one.bases.values())]


def save(table: Table, record: Record) -> None:
    table.put(KIND, record.id, msgspec.to_builtins(record, enc_hook=Struct.given_json))


def load(table: Table) -> tuple[list[Record], list[Corrupt]]:
    """Every record, and an error for each that cannot be read."""
    records, broken = [], []
    for id, body in table.list(KIND).items():
        try:
            record = msgspec.convert(body, Record, dec_hook=decode)
        except (msgspec.ValidationError, Invalid) as error:
            broken.append(Corrupt(f"record of machine {id} cannot be read: {error}"))
            continue
        _named(record.begun, record.networks, record.disks)
        for one in record.snapshots:
            _named(one.begun, one.networks, one.disks)
        records.append(record)
    return records, broken
