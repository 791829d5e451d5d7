"""The guest of a container that is isolated by one: its machine, its disks, its interfaces.

The image is a read-only disk that all guests of it share, the container's own files are on another, and the guest
mounts the second over the first. Its interfaces are taps in the networks' bridges.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from corten.aio.threads import answered
from corten.engine.containers.container import Container
from corten.engine.containers.guest_network import interface_of
from corten.engine.containers.stores import Stores
from corten.errors import Invalid, Unsupported
from corten.guests import host
from corten.network.guest import Tap
from corten.plan.devices import BlockDevice
from corten.plan.facts import HostFacts
from corten.plan.isolation import disk_size, in_guest
from corten.spec import platform as platforms
from corten.spec.docker.host_config import HostConfig
from corten.spec.json import Json
from corten.spec.mounts import Mount
from corten.supervisor.requests import Guest
from corten.tasks.contract import GuestPart
from corten.vm import planning
from corten.vm.architectures import architecture as of
from corten.vm.architectures import of_platform

_IMAGE, _OWN = "image", "own"  # serial numbers of the disks
_DISKS: tuple[Json, ...] = (
    {"serial": _IMAGE, "type": "erofs", "options": [], "read_only": True, "directories": []},
    {
        "serial": _OWN,
        "type": "ext4",
        "options": [],
        "read_only": False,
        "directories": ["upper", "work"],
        "like": _IMAGE,
    },
)


def rootfs() -> tuple[Mount, ...]:
    """The container's root in the guest."""
    image, own = (f"{planning.DISKS}/{serial}" for serial in (_IMAGE, _OWN))
    options = (f"lowerdir={image}", f"upperdir={own}/upper", f"workdir={own}/work")
    return (Mount("overlay", "overlay", "/", options),)


def architecture(machine: str) -> str:
    """Of the guest of a container whose `Record.machine` that is. Unsupported for one that there are no guests of."""
    return of_platform(platforms.parse(machine).architecture) if machine else host.HERE


async def check(stores: Stores, host_config: HostConfig, facts: HostFacts, machine: str) -> None:
    """Raises Unsupported, with the reason, for a container that is to have a guest where there are none. `machine`: its
    record's."""
    if not in_guest(host_config, facts):
        return
    if stores.guest_machines is None:
        raise Unsupported("isolation vm is not supported: this daemon has no guests")
    if machine and (host_config.init or (host_config.init is None and facts.default_init)):
        raise Unsupported(f"isolation vm is not supported: there is no init for {machine}, run it without --init")
    if machine and _processors(host_config) > 1 and not of(architecture(machine)).grows:
        raise Unsupported(f"isolation vm is not supported: a guest for {machine} has one processor, not more --cpus")
    try:
        await stores.guest_machines.check(architecture(machine))
    except Unsupported as error:
        raise Unsupported(f"isolation vm is not supported: {error}") from None


def _processors(host_config: HostConfig) -> int:
    """How many it takes to have what is asked for; 0 where nothing is."""
    quota, period = host_config.cpu_quota, host_config.cpu_period
    return planning.cpus_of({"cpu": {"quota": quota or host_config.nano_cpus // 10_000, "period": period or 100_000}})


async def guest(
    stores: Stores,
    container: Container,
    spec: Json,
    taps: Sequence[Tap],
    names: int,
    held: AsyncExitStack,
    boots: Callable[[], None],
    devices: Sequence[BlockDevice] = (),
    of_image: bool = False,
) -> GuestPart:
    """The guest of a run. Descriptors are closed by `held`, but those of `taps` and `names`. `boots` is called when
    what all guests begin from has to be made first. `of_image`: of the machine that the image is for."""
    assert stores.guest_machines is not None, "create refuses it"
    if container.record.chain_id is None:
        raise Unsupported("an image without layers has no disk for a guest")
    resources = (spec.get("linux") or {}).get("resources") or {}
    limit = (resources.get("memory") or {}).get("limit") or 0
    image = await stores.guest_images.image(container.record.chain_id)
    held.callback(os.close, image)
    size = disk_size(container.record.host_config)
    own = await stores.guest_disks.disk(container.bundle, *(size,) if size else ())
    held.callback(os.close, own)
    opened = []
    for device in devices:
        opened.append(await answered(partial(_open, device), f"the device {device.node.path}", os.close))
        held.callback(os.close, opened[-1])
    shared = bool(planning.plan(spec).shares)
    kind = architecture(container.record.machine) if of_image else host.HERE
    machine = await stores.guest_machines.begin(max(limit, 0), planning.cpus_of(resources), boots, shared, kind)
    held.callback(machine.close)
    section = machine.section._replace(
        disks=(
            *((disk["serial"], disk["read_only"]) for disk in _DISKS),
            *((_serial(number), "w" not in device.access) for number, device in enumerate(devices)),
        ),
        interfaces=tuple((tap.spec.name, tap.spec.mac) for tap in taps),
    )
    shown = tuple(_shown(number, device) for number, device in enumerate(devices))
    guest = Guest(section, _DISKS, tuple(interface_of(tap) for tap in taps), names >= 0, shown)
    questions = (names,) if names >= 0 else ()
    return GuestPart(guest, (*machine.descriptors, image, own, *opened, *(tap.fd for tap in taps), *questions))


def _serial(number: int) -> str:
    return f"device{number}"


def _shown(number: int, device: BlockDevice) -> Json:
    node = device.node
    return {"serial": _serial(number), "path": device.path, "mode": node.mode, "uid": node.uid, "gid": node.gid,
            "access": device.access}  # fmt: skip


def _open(device: BlockDevice) -> int:
    """Raises Invalid for what is not that device any more, and with the kernel's reason."""
    node = device.node
    try:
        how = os.O_RDWR if "w" in device.access else os.O_RDONLY
        fd = os.open(node.path, how | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Invalid(f"cannot open {node.path} for a guest: {(error.strerror or '').lower()}") from error
    status = os.fstat(fd)
    if not stat.S_ISBLK(status.st_mode) or status.st_rdev != os.makedev(node.major, node.minor):
        os.close(fd)
        raise Invalid(f"{node.path} is another device than it was")
    return fd
