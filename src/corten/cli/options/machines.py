"""The flags of `vm create`: disks, CDs, what cloud-init gets."""

from __future__ import annotations

import os

from corten.cli.errors import CommandError
from corten.spec.docker.host_config import RestartPolicy
from corten.spec.docker.machine import CloudInit, MachineCreate, MachineDevice, MachineDisk
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from corten.cli.flags import Flags

_IMAGES = (".qcow2", ".img", ".raw", ".vmdk", ".vdi", ".vhdx", ".iso")
_KEYS = {
    "volume": "volume",
    "size": "size",
    "from": "source",
    "image": "image",
    "backing": "backing",
    "clone": "backing",
    "bus": "bus",
    "device": "device",
}
_DEVICES = ("pci", "mdev", "usb")
_LETTERS = "kmgtp"
_MAX_FILE = 1 << 20


def machine(flags: Flags) -> MachineCreate:
    """The request. Raises CommandError for what cannot be."""
    disks = [parse_disk(text) for text in flags.many("disk")]
    given = [parse_device(text) for text in flags.many("device")]
    disks += [each for each in given if isinstance(each, MachineDisk)]
    disks += [parse_disk(text).replace(cdrom=True) for text in flags.many("cdrom")]
    if (flags.on("uefi") or flags.on("secure-boot")) and flags.text("firmware") not in ("", "uefi"):
        raise CommandError("conflicting options: --firmware with --uefi or --secure-boot")
    of_host = str if flags.text("image") else _path
    values: dict[str, Any] = {
        "disks": disks or None,
        "devices": [each for each in given if isinstance(each, MachineDevice)] or UNSET,
        "memory": flags.number("memory") or UNSET,
        "max_memory": flags.number("max-memory") or UNSET,
        "cpus": flags.number("cpus") or UNSET,
        "max_cpus": flags.number("max-cpus") or UNSET,
        "firmware": "uefi" if flags.on("uefi") or flags.on("secure-boot") else flags.text("firmware") or UNSET,
        "image": flags.text("image") or UNSET,
        "image_size": flags.text("image-size") or UNSET,
        "kernel": of_host(flags.text("kernel")) or UNSET,
        "initrd": of_host(flags.text("initrd")) or UNSET,
        "kernel_arguments": flags.text("append") or UNSET,
        "display": flags.on("display") or UNSET,
        "video": flags.text("video") or UNSET,
        "secure_boot": flags.on("secure-boot") or UNSET,
        "tpm": flags.on("tpm") or UNSET,
        "network_model": flags.text("network-model") or UNSET,
        "net_rate": flags.text("net-rate") or UNSET,
        "labels": flags.pairs("label") or UNSET,
        "restart_policy": _restart(flags.text("restart")),
        "cloud_init": _cloud_init(flags),
        "networks": _networks(flags.many("network")),
        "port_bindings": _ports(flags.many("publish")),
    }
    return MachineCreate(**values)


def parse_disk(text: str) -> MachineDisk:
    """ "20g", "VOLUME", "FILE.qcow2", or "volume=root,size=20g,bus=ide". CommandError."""
    if "=" in text:
        return _fields(text)
    if text.startswith(("/", "./", "../", "~/")) or text.lower().endswith(_IMAGES):
        return MachineDisk(source=_path(text))
    if is_size(text):
        return MachineDisk(size=text)
    if not text:
        raise CommandError("a disk is a size (20g), a volume, an image (FILE.qcow2), or KEY=VALUE,...")
    return MachineDisk(volume=text)


def parse_device(text: str) -> MachineDisk | MachineDevice:
    """ "/dev/sdb", "/dev/sdb:ro", "pci=0000:01:00.0", "mdev=UUID", "usb=046d:c52b", "usb=3.5". CommandError."""
    kind, _, address = text.partition("=")
    if kind in _DEVICES and address:
        return MachineDevice(kind=kind, address=address)
    path, colon, access = text.rpartition(":")
    if colon and access in ("ro", "rw"):
        text = path
    if not text.startswith("/"):
        raise CommandError(f"invalid device '{text}': it is a block device (/dev/sdb), pci=0000:01:00.0, mdev=UUID,"
                           " usb=VENDOR:PRODUCT or usb=BUS.NUMBER")  # fmt: skip
    return MachineDisk(device=_path(text), read_only=bool(colon) and access == "ro")


def is_size(text: str) -> bool:
    """ "20g", "512M", "1.5GiB"; not "2": a name may be a number."""
    lower = text.lower()
    digits = lower.rstrip("ib").rstrip(_LETTERS)
    return digits != lower and digits.replace(".", "", 1).isdigit() and len(lower) - len(digits) <= 3


def _fields(text: str) -> MachineDisk:
    values: dict[str, Any] = {}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if key in ("readonly", "ro") and value in ("", "true", "1"):
            values["read_only"] = True
        elif not equals or key not in _KEYS:
            raise CommandError(f"invalid disk '{text}': '{field}' is none of {', '.join(_KEYS)}=VALUE and readonly")
        else:
            values[_KEYS[key]] = _path(value) if key in ("from", "device") else value
    return MachineDisk(**values)


def _path(text: str) -> str:
    """Of the daemon's machine, which is taken to be this one."""
    return os.path.abspath(os.path.expanduser(text)) if text else ""


def _networks(texts: Sequence[str]) -> Any:
    if not texts:
        return UNSET
    if list(texts) == ["none"]:
        return {}
    from corten.cli.options.networks import parse_network

    try:
        return {one.name: one.endpoint for one in map(parse_network, texts)}
    except ValueError as error:
        raise CommandError(f"invalid network: {error}") from None


def _ports(specs: Sequence[str]) -> Any:
    if not specs:
        return UNSET
    from corten.cli.options.ports import published

    return published(specs)[1]


def _restart(text: str) -> Any:
    if not text:
        return UNSET
    name, _, count = text.partition(":")
    if count:
        raise CommandError("a machine's restart policy has no count: no, always, unless-stopped, on-failure")
    return RestartPolicy(name=name)


def _cloud_init(flags: Flags) -> Any:
    names = ("cloud-init", "cloud-init-network", "ssh-key")
    if not any(name in flags for name in names):
        return UNSET
    user = _read(flags.text("cloud-init")) if flags.text("cloud-init") else ""
    if keys := [_read(path).strip() for path in flags.many("ssh-key")]:
        if user:
            raise CommandError("conflicting options: --ssh-key and --cloud-init: put ssh_authorized_keys into the file")
        user = "#cloud-config\nssh_authorized_keys:\n" + "".join(f"  - {_quoted(key)}\n" for key in keys)
    network = _read(flags.text("cloud-init-network")) if flags.text("cloud-init-network") else ""
    return CloudInit(user_data=user, network_config=network)


def _quoted(key: str) -> str:
    if "\n" in key or not key.isprintable():
        raise CommandError("a file of --ssh-key has one public key, in one line")
    return "'" + key.replace("'", "''") + "'"


def _read(path: str) -> str:
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            text = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path}: not a text") from None
    if len(text) > _MAX_FILE:
        raise CommandError(f"{path}: more than 1 MiB")
    return text
