"""corten vm create: make a machine."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, BYTES, INT, LABEL, LIST, STRING, flag
from corten.cli.options.machines import machine
from corten.cli.output import STDERR, err, out
from corten.client import machines
from corten.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.client.api import Json
    from corten.spec.docker.machine import MachineCreate


def run(session: Session, flags: Flags) -> int:
    made = _made(session, flags.words[0] if flags.words else "", machine(flags))
    for warning in made.get("Warnings") or ():
        err(f"WARNING: {warning}")
    if flags.on("start"):
        machines.act(session.client, made["Id"], "start")
    out(made["Name"])
    return 0


def _made(session: Session, name: str, config: MachineCreate) -> Json:
    """An image that is not there is pulled."""
    try:
        return machines.create(session.client, name, config)
    except ApiError as error:
        from corten.cli import pulling

        if error.status != 404 or not config.image or not pulling.lacks_image(error, config.image):
            raise
    pulling.say_missing(config.image)
    pulling.pull(session, config.image, STDERR)
    return machines.create(session.client, name, config)


COMMAND = Command(
    run,
    "[OPTIONS] [NAME]",
    "Make a virtual machine",
    (
        flag("append", STRING, "Arguments of the kernel, with --kernel or --image"),
        flag("cdrom", LIST, "Image of a CD (FILE.iso, or a volume)"),
        flag("cloud-init", STRING, "File for cloud-init at the first boot (user-data)"),
        flag("cloud-init-network", STRING, "File for cloud-init's network (network-config), instead of ours"),
        flag("cpus", INT, "Processors (default 1)"),
        flag(
            "device",
            LIST,
            "Device of the host: a block device as one more disk (/dev/sdb, /dev/sdb:ro), pci=0000:01:00.0, mdev=UUID, "
            "usb=VENDOR:PRODUCT or usb=BUS.NUMBER",
        ),
        flag(
            "disk",
            LIST,
            "Disk: a size (20g), an image that is copied (FILE.qcow2), a volume, or KEY=VALUE,... with "
            "volume, size, from, image, clone, device=/dev/sdb, bus=virtio|scsi|ide, readonly",
        ),
        flag("display", BOOL, "With a screen: see 'vm vnc' and 'vm screenshot'"),
        flag("firmware", STRING, "bios, uefi, or kernel (default bios)"),
        flag("image", STRING, "OCI image: its files become the first disk, and the kernel in it is booted"),
        flag("image-size", STRING, "Size of that disk (default 10g)"),
        flag("initrd", STRING, "Initial file system, with --kernel; with --image one in the image"),
        flag("kernel", STRING, "Boot this kernel, without firmware; with --image one in the image"),
        flag("label", LABEL, "Attach a label", "l"),
        flag("max-cpus", INT, "Processors that 'vm update' can give it while it runs"),
        flag("max-memory", BYTES, "Memory that 'vm update' can give it while it runs"),
        flag("memory", BYTES, "Memory (default 1g)", "m"),
        flag("net-rate", STRING, "Limit each interface's traffic (10mbit, or egress=10mbit,ingress=1gbit,delay=5ms)"),
        flag("network", LIST, "Network, one for each interface (default bridge; none)"),
        flag("network-model", STRING, "Network devices: virtio or e1000e (default virtio)"),
        flag("publish", LIST, "Publish a port on the host (8080:80)", "p"),
        flag("restart", STRING, "When it is started again: no, on-failure, always, unless-stopped"),
        flag("secure-boot", BOOL, "UEFI that boots nothing but what is signed"),
        flag("ssh-key", LIST, "File of a public key for cloud-init's user"),
        flag("start", BOOL, "Start it as well"),
        flag("tpm", BOOL, "With a TPM 2.0 (swtpm)"),
        flag("uefi", BOOL, "The same as --firmware uefi"),
        flag("video", STRING, "A screen of this kind: vga or virtio (--display: vga)"),
    ),
    most=1,
)
