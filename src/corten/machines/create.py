"""POST /vms/create: checks, disks, record."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from corten.aio.threads import answered
from corten.engine.containers import names
from corten.engine.volumes import MAKING
from corten.errors import Conflict, CortenError, Invalid, NotFound
from corten.guests import host
from corten.machines import block_devices, passthrough
from corten.machines.disks import DEFAULT_SIZE
from corten.machines.images import check_path
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import KIND, Disk, HostDevice, Record
from corten.network import rate
from corten.plan.validate.network import check_bindings, check_endpoint
from corten.spec.docker import times
from corten.spec.docker.machine import MachineCreate, MachineDisk
from corten.spec.docker.networking import EndpointSettings
from corten.units.sizes import human_size
from corten.vm import board, tpm

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z")
MEMORY = 1 << 30  # bytes, where none are asked for
SMALLEST = 16 << 20
_GRAIN = 2 << 20
_MOST_CPUS = 64
_MORE_MEMORY = 4  # times its memory a machine may have while it runs, where nothing else is said
_FIRMWARE = ("bios", "uefi", "kernel", "image")
# Puts files into a new machine's directory.
Furnish = Callable[[Path], Awaitable[None]]
BUSES = ("virtio", "scsi", "ide")
MODELS = {"": "virtio-net-pci", "virtio": "virtio-net-pci", "e1000e": "e1000e"}
_RESTARTS = ("", "no", "always", "unless-stopped", "on-failure")
_MOST_DISKS = 16


async def create(
    machines: Machines,
    name: str,
    asked: MachineCreate,
    brought: Sequence[str] = (),
    furnish: Furnish | None = None,
) -> Machine:
    """Errors of the request: Invalid, Conflict, NotFound, Unavailable. Disks that were made for it are gone when it
    fails, and after a kill with the next daemon; so are those that were `brought`, unsettled. One from an image has
    what that has, unless another machine's files are put into its directory by `furnish`."""
    name = name or names.unused(lambda text: text in machines.by_name)
    made = list(brought)
    try:
        check_name(machines, name)
        config = filled(asked)
        await check_files(config)
        await _host_devices(machines, config)
        check_name(machines, name)
        if config.image and furnish is None:
            return await _of_image(machines, name, config, made)
        return await _create(machines, name, config, made, furnish)
    except BaseException:
        machines.disks.discard(made)
        raise


async def _of_image(machines: Machines, name: str, config: MachineCreate, made: list[str]) -> Machine:
    """What it boots is looked for before the disk is made, which takes its time."""
    image = await machines.images.find(config.image)
    with machines.images.held(image):
        config = await machines.images.bootable(image, config)
        first = MachineDisk(image=image.id, size=config.image_size or DEFAULT_SIZE)
        config = config.replace(disks=[first, *(config.disks or ())])
        return await _create(machines, name, config, made, lambda place: machines.images.take(image, config, place))


async def _create(
    machines: Machines, name: str, config: MachineCreate, made: list[str], furnish: Furnish | None
) -> Machine:
    """`made`: of its disks those that were made for it."""
    networks = networks_of(machines, config)
    check_name(machines, name)
    machines.creating.add(name)
    try:
        disks = [await make_disk(machines, name, index, disk, made) for index, disk in enumerate(config.disks or ())]
        if config.cloud_init is not None:
            disks.append(Disk("cloud-init", "", "virtio", True))
        devices = await _host_devices(machines, config)
        check_number(disks, networks, passthrough.places(devices))
        for disk in disks:
            if disk.volume:
                machines.volumes.disk(disk.volume)  # it may have been removed while others were made
            if disk.volume and not disk.read_only:
                check_free(machines, disk.volume, made=made)
        id = secrets.token_hex(32)
        config = config.replace(devices=None)  # those that it has now are the record's
        record = Record(id, name, times.now(), str(uuid.uuid4()), config, disks, networks, devices=devices)
        machine = Machine(record, machines.settings.directory / id)
        machines.hold(machine)
        try:
            machine.directory.mkdir(mode=0o700, parents=True)
            if furnish is not None:
                await furnish(machine.directory)
            machines.save(machine)
            machines.disks.keep(made)
        except BaseException:
            machines.release(machine)
            with suppress(CortenError):
                machines.table.delete(KIND, id)
            shutil.rmtree(machine.directory, ignore_errors=True)
            raise
        machines.add(machine)
    finally:
        machines.creating.discard(name)
    machines.publish(machine, "create")
    return machine


async def _host_devices(machines: Machines, config: MachineCreate) -> list[HostDevice]:
    """Those that are no disks; all are there, and free. Looked at before anything is made, and once more when all is.
    Errors of `block_devices` and `passthrough`."""
    with ExitStack() as held:  # all at once: none of them twice
        for disk in config.disks or ():
            if disk.device:
                held.callback(os.close, await block_devices.opened(machines, "", disk.device, disk.read_only))
        return await passthrough.wanted(machines, config.devices or ())


def check_name(machines: Machines, name: str) -> None:
    """Invalid, Conflict."""
    if not _NAME.match(name) or len(name) > 63:
        raise Invalid(f"Invalid machine name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, and 63 of them")
    if name in machines.by_name or name in machines.creating:
        raise Conflict(f'the machine name "{name}" is already in use')


def filled(asked: MachineCreate) -> MachineCreate:
    """With defaults. Pure, but for what this machine has."""
    memory = -(-(asked.memory or MEMORY) // _GRAIN) * _GRAIN
    total = host.total_memory() // _GRAIN * _GRAIN
    if not SMALLEST <= memory <= total:
        least, most = human_size(SMALLEST), human_size(total)
        raise Invalid(f"a machine has {least} to {most} of memory here, not {human_size(memory)}")
    bound = asked.max_memory or min(memory * _MORE_MEMORY, total)
    if bound < memory:
        raise Invalid("the memory that a machine can have at most is less than what it begins with")
    cpus = asked.cpus or 1
    max_cpus = asked.max_cpus or max(cpus, min(os.cpu_count() or 1, _MOST_CPUS))
    if not 1 <= cpus <= max_cpus <= _MOST_CPUS:
        raise Invalid(f"a machine has 1 to {_MOST_CPUS} processors, and not more than it can have at most")
    firmware = asked.firmware or ("image" if asked.image else "kernel" if asked.kernel else "bios")
    _check_firmware(asked, firmware)
    if asked.network_model not in MODELS:
        raise Invalid(f'no model of network devices: "{asked.network_model}"; there are virtio and e1000e')
    if asked.video and asked.video not in board.VIDEO:
        raise Invalid(f'no kind of screen: "{asked.video}"; there are {", ".join(board.VIDEO)}')
    rate.parse(asked.net_rate)
    policy = asked.restart_policy.name if asked.restart_policy else ""
    if policy not in _RESTARTS:
        raise Invalid(f"invalid restart policy: unknown policy '{policy}'; use one of 'no', 'always', 'on-failure', or "
                      "'unless-stopped'")  # fmt: skip
    check_bindings(asked.port_bindings or {})
    for disk in asked.disks or ():
        check_disk(disk)
    made = asked.replace(
        memory=memory, max_memory=-(-bound // _GRAIN) * _GRAIN, cpus=cpus, max_cpus=max_cpus, firmware=firmware
    )
    return made.replace(display=True) if asked.video else made


def _check_firmware(asked: MachineCreate, firmware: str) -> None:
    if firmware not in _FIRMWARE:
        raise Invalid(f'no firmware: "{firmware}"; there are {", ".join(_FIRMWARE)}')
    if (firmware == "image") != bool(asked.image):
        raise Invalid("a machine boots what is in an image with the firmware image, and with that alone")
    if asked.image_size and not asked.image:
        raise Invalid("the size of an image's disk is given with an image")
    if not asked.image and (firmware == "kernel") != bool(asked.kernel):
        raise Invalid("a kernel is given with the firmware kernel, and with that alone")
    if (asked.initrd or asked.kernel_arguments) and not (asked.kernel or asked.image):
        raise Invalid("an initrd and arguments of a kernel are given with a kernel")
    for path in filter(None, (asked.kernel, asked.initrd)):
        if asked.image:
            check_path(path)
        elif not os.path.isabs(path):
            raise Invalid(f"{path} is no absolute path of a file on the daemon's machine")
    if len(asked.kernel_arguments) > 2000 or not asked.kernel_arguments.isprintable():
        raise Invalid("a kernel's arguments are one line of at most 2,000 characters")
    if asked.secure_boot and firmware != "uefi":
        raise Invalid("secure boot is of the firmware uefi, and of that alone")
    if firmware == "uefi" and not os.path.exists(board.SECURE_CODE if asked.secure_boot else board.CODE):
        raise NotFound("there is no UEFI firmware in /usr/share/OVMF: install the package ovmf")
    if asked.tpm:
        tpm.program()


def with_kernel(config: MachineCreate, kernel: str, initrd: str) -> MachineCreate:
    """Of a machine from elsewhere: the files that it boots are those that a client names here. Its guest can read them,
    so it may not choose; one from an image has its own. Invalid."""
    if config.firmware == "image":
        if kernel or initrd:
            raise Invalid("the machine boots the kernel that came with it, and not one that is given")
        return config
    if bool(config.kernel) is not bool(kernel) or (config.initrd and not initrd) or (initrd and not kernel):
        files = " and ".join(filter(None, (config.kernel, config.initrd)))
        if not files:
            raise Invalid("the machine boots from its disks, and not from a kernel that is given")
        raise Invalid(f"the machine boots from files of its host, {files}: say which ones of this host with --kernel"
                      " and --initrd")  # fmt: skip
    return config.replace(kernel=kernel, initrd=initrd)


async def check_files(config: MachineCreate) -> None:
    """Of a kernel. NotFound, Unavailable."""
    for path in filter(None, () if config.image else (config.kernel, config.initrd)):
        if not await answered(partial(os.path.isfile, path), path):
            raise NotFound(f"there is no file {path} on the daemon's machine")


def check_disk(disk: MachineDisk) -> None:
    if disk.bus and disk.bus not in BUSES:
        raise Invalid(f'no bus of disks: "{disk.bus}"; there are {", ".join(BUSES)}')
    if disk.cdrom and disk.bus not in ("", "ide"):
        raise Invalid("a CD is on the bus ide")
    if disk.device and (disk.volume or disk.size or disk.source or disk.image or disk.backing):
        raise Invalid(f"a disk is device {disk.device} of this host or a volume, and not both")
    if disk.device and disk.cdrom:
        raise Invalid(f"device {disk.device} of this host is a disk and no CD, of which a copy is made")


def networks_of(machines: Machines, config: MachineCreate) -> dict[str, EndpointSettings]:
    """By the networks' names. Without any the default one."""
    given = config.networks
    if given is None:
        default = "bridge"
        given = {default: EndpointSettings()} if machines.networks.config.has_default else {}
    found: dict[str, EndpointSettings] = {}
    for reference, settings in given.items():
        if reference in ("none", "host"):
            raise Invalid(f"a machine has interfaces in networks with bridges, not in {reference}")
        check_endpoint(settings)
        name = machines.networks.find(reference).definition.name
        found[name] = settings
    if config.port_bindings and not found:
        raise Invalid("ports are published by a network, and the machine has none")
    return found


async def make_disk(machines: Machines, name: str, index: int, disk: MachineDisk, made: list[str]) -> Disk:
    """The volume is made when there is none of that name: unsettled, and one more of `made`."""
    check_disk(disk)
    if disk.device:
        return Disk(f"disk{index}", "", disk.bus or "virtio", disk.read_only, device=disk.device)
    volume = disk.volume or f"{name}-disk{index}"
    is_new = all(each.name != volume for each in machines.volumes.list())
    given = {"size": disk.size, "from": disk.source, "image": disk.image, "backing": disk.backing}
    if any(given.values()):
        if not is_new:
            raise Conflict(f"volume {volume} is there already, and is not made again: name it alone, or another one")
        await machines.disks.create(volume, given, {}, unsettled=True)
        made.append(volume)
    elif is_new:
        raise NotFound(f"get {volume}: no such volume: a size makes it, as volume={volume},size=20g")
    machines.volumes.disk(volume)
    bus = "ide" if disk.cdrom else disk.bus or "virtio"
    return Disk(f"disk{index}", volume, bus, disk.read_only or disk.cdrom, disk.cdrom)


def check_number(disks: Sequence[Disk], networks: Collection[str], others: Collection[str] = ()) -> None:
    """Invalid for more than there is room for."""
    if len(disks) > _MOST_DISKS:
        raise Invalid(f"a machine has at most {_MOST_DISKS} disks, not {len(disks)}")
    if sum(disk.bus == "ide" for disk in disks) > 6:
        raise Invalid("there is room for 6 disks on the bus ide")
    if (count := len(disks) + len(networks) + len(others)) > board.PORTS:
        raise Invalid(f"a machine has at most {board.PORTS} disks, networks and devices, not {count}")


def check_free(machines: Machines, volume: str, own: str = "", made: Collection[str] = ()) -> None:
    """Conflict for a disk that another machine has, is made for another one, or that others are based on."""
    machines.disks.check_writable(volume)
    for id in machines.volumes.users(volume):
        if id != own and not (id == MAKING and volume in made):
            user = machines.by_id.get(id)
            raise Conflict(f"disk {volume} is in use by {f'machine {user.name}' if user else id}: make a clone of it")
