"""The bodies of /vms, which are ours: Docker has no such noun. In the manner of Docker's structures."""

from __future__ import annotations

from corten.spec.docker.host_config import PortBinding, RestartPolicy
from corten.spec.docker.networking import EndpointSettings
from corten.spec.docker.struct import Struct, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.spec.docker.gotypes import Int64


class MachineDisk(Struct, go="vm.Disk"):
    """A volume of the driver `disk`. Where there is none of that name it is made, by these options of the driver:
    `size` (20g), `from` (a file of the daemon's machine, which is copied), `image` (an OCI image, whose tree becomes an
    ext4 file system that is the whole disk) or `backing` (another volume, which is not copied). `bus`: virtio, ide;
    `cdrom` makes it one, which is read-only. `device`: a block device of the daemon's machine instead of a volume."""

    volume: str = ""
    size: str = ""
    source: str = field(default="", key="From")
    image: str = ""
    backing: str = ""
    bus: str = ""
    read_only: bool = False
    cdrom: bool = field(default=False, key="CDROM")
    device: str = ""


class MachineDevice(Struct, go="vm.Device"):
    """A device of the daemon's machine, which the machine drives by itself. `kind`: pci (`address` 0000:01:00.0), mdev
    (its UUID) or usb (046d:c52b, vendor and product, or 3.5, bus and number)."""

    kind: str = ""
    address: str = ""


class CloudInit(Struct, go="vm.CloudInit"):
    """What cloud-init reads at the first boot (NoCloud); texts of these files."""

    user_data: str = ""
    meta_data: str = ""
    network_config: str = ""


class MachineCreate(Struct, go="vm.CreateRequest"):
    """The body of POST /vms/create. `memory` in bytes; `max_memory` and `max_cpus` bound what `update` can give while
    it runs. `firmware`: bios, uefi, or kernel, for `kernel`, `initrd` (files of the daemon's machine) and
    `kernel_arguments`. `image`: an OCI image, whose tree is the first disk, of `image_size` (10g); the firmware is
    image then, and `kernel` and `initrd` are paths in the image, "" for those that are found there.
    `display`: with a screen, of the kind `video` (vga, virtio). `secure_boot` is of uefi; `tpm`: a TPM 2.0. `networks`:
    settings by name, in the order of the interfaces; `net_rate` limits each of them, as HostConfig.NetRate does."""

    memory: Int64 = 0
    max_memory: Int64 = 0
    cpus: int = field(default=0, key="CPUs")
    max_cpus: int = field(default=0, key="MaxCPUs")
    firmware: str = ""
    image: str = ""
    image_size: str = ""
    kernel: str = ""
    initrd: str = ""
    kernel_arguments: str = ""
    disks: list[MachineDisk] | None = None
    devices: list[MachineDevice] | None = None
    networks: dict[str, EndpointSettings] | None = None
    network_model: str = ""
    net_rate: str = ""
    port_bindings: dict[str, list[PortBinding]] | None = None
    cloud_init: CloudInit | None = None
    display: bool = False
    video: str = ""
    secure_boot: bool = False
    tpm: bool = field(default=False, key="TPM")
    restart_policy: RestartPolicy | None = None
    labels: dict[str, str] | None = None


class MachineLimits(Struct, go="vm.Limits"):
    """Of a disk: bytes and requests a second, 0: none. What is not given stays."""

    read_bps: Int64 = field(default=0, key="ReadBps")
    write_bps: Int64 = field(default=0, key="WriteBps")
    read_iops: Int64 = field(default=0, key="ReadIOps")
    write_iops: Int64 = field(default=0, key="WriteIOps")


class MachineUpdate(Struct, go="vm.UpdateRequest"):
    """The body of POST /vms/ID/update: what is not given stays. `disks`: sizes (20g) by the disk's name or volume;
    `limits` by the same. `net_rate`: "" for no limit."""

    memory: Int64 = 0
    cpus: int = field(default=0, key="CPUs")
    disks: dict[str, str] | None = None
    limits: dict[str, MachineLimits] | None = None
    net_rate: str | None = None


class MachineNetwork(Struct, go="vm.Network"):
    """The body of POST /vms/ID/networks."""

    network: str = ""
    endpoint_config: EndpointSettings | None = None


class MachineSnapshot(Struct, go="vm.Snapshot"):
    """The body of POST /vms/ID/snapshots. `external`: what is on the disks becomes volumes of their own, and memory a
    file; `disk_only`: one without memory. `quiesce`: as of backups."""

    name: str = ""
    external: bool = False
    disk_only: bool = False
    quiesce: bool = False


class MachineClone(Struct, go="vm.Clone"):
    """The body of POST /vms/ID/clone. `full`: copies of the disks, instead of what is based on the same."""

    name: str = ""
    full: bool = False


class MachineBackup(Struct, go="vm.Backup"):
    """The body of POST /vms/ID/backup. `disk`: its name or volume, "" for the first. `quiesce`: the agent in the guest
    freezes its file systems for the moment that is kept."""

    volume: str = ""
    disk: str = ""
    full: bool = False
    quiesce: bool = False


class MachineRebase(Struct, go="vm.Rebase"):
    """The body of POST /vms/ID/disks/NAME/rebase. `onto`: a volume that the disk stays based on; "": none."""

    onto: str = ""


class MachineExec(Struct, go="vm.Exec"):
    """The body of POST /vms/ID/exec: a program in the guest, by QEMU's agent there."""

    cmd: list[str] | None = None
    env: list[str] | None = None
    stdin: str = ""
