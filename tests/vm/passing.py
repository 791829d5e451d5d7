"""In an emulated host (`emulated_host.py`): its devices are looked at, bound, and given to a QEMU, confined as ever."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corten.errors import CortenError
from corten.machines.host_devices import Found, find, parse
from corten.vm import board, confine, passthrough
from corten.vm.board import Board
from corten.vm.passthrough import Passed

ROOT = Path("/")
DEVICES = ROOT / "sys/bus/pci/devices"
TABLET, STICK = "0627:0001", "46f4:0001"  # of QEMU's
_RUNS = 15.0  # seconds, for its firmware


def look(kind: str, address: str) -> Found | None:
    try:
        found = find(ROOT, parse(kind, address))
    except CortenError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return None
    print(found, flush=True)
    return found


def bind(address: str) -> None:
    """As driverctl does."""
    place = DEVICES / address
    (place / "driver_override").write_text("vfio-pci")
    if (place / "driver").exists():
        (place / "driver/unbind").write_text(address)
    (ROOT / "sys/bus/pci/drivers_probe").write_text(address)


def functions(kind: str) -> list[str]:
    return [name for name in sorted(os.listdir(DEVICES)) if (DEVICES / name / "class").read_text().startswith(kind)]


def pci() -> list[Found]:
    """Cards, and a virtual function."""
    wanted = functions("0x0200")
    for address in wanted:
        look("pci", address)
        bind(address)
    for address in functions("0x0108"):
        (DEVICES / address / "sriov_drivers_autoprobe").write_text("0")
        (DEVICES / address / "sriov_numvfs").write_text("1")
        look("pci", address)
        wanted.append(os.path.basename(os.path.realpath(DEVICES / address / "virtfn0")))
        look("pci", wanted[-1])
        bind(wanted[-1])
    return [found for address in wanted if (found := look("pci", address)) is not None]


class Qemu:
    def __init__(self, found: Sequence[Found]) -> None:
        passed = tuple(Passed(each.kind, each.address, place, each.group) for place, each in enumerate(found))
        files = [os.open(each.path, os.O_RDWR) for each in found if each.path]
        plan = Board(
            "/usr/bin/qemu-system-x86_64", "tcg", "11111111-2222-3333-4444-555555555555", 64 << 20, 128 << 20, 1, 1,
            ports=8, passed=passed, usb=7,
        )  # fmt: skip
        pairs = [socket.socketpair() for _ in range(3)]
        line = board.line(plan, board.Sockets(*(its.fileno() for _, its in pairs)), files, [])
        self.errors, errors = os.pipe()
        locked = passthrough.locked(passed, plan.max_memory)
        self.pid, self.ended = confine.execute(
            line.arguments, line.descriptors, errors, lambda: None, False, jail=passthrough.jail(passed), locked=locked
        )
        for fd in (errors, *files):
            os.close(fd)
        for _, its in pairs:
            its.close()
        self._sockets = [ours for ours, _ in pairs]
        self._lines = self._sockets[0].makefile("rb")
        self._lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, fds: Sequence[int] = (), **arguments: Any) -> Any:
        body = json.dumps({"execute": command, "arguments": arguments}).encode()
        try:
            socket.send_fds(self._sockets[0], [body], list(fds))
            while "event" in (answer := json.loads(self._lines.readline())):
                print(answer["event"], answer.get("data"), flush=True)
        except (OSError, ValueError):
            raise SystemExit(f"QEMU has ended: {os.read(self.errors, 1 << 16).decode()}") from None
        return answer.get("return", answer)

    def show(self) -> None:
        for bus in self.ask("query-pci"):
            for port in bus["devices"]:
                for each in port.get("pci_bridge", {}).get("devices", []):
                    places = [hex(region["address"] & (1 << 64) - 1) for region in each["regions"]]
                    print(each["qdev_id"], f"{each['id']['vendor']:04x}:{each['id']['device']:04x}", places, flush=True)
        print(self.ask("x-query-usb")["human-readable-text"], flush=True)


def stick(qemu: Qemu) -> None:
    """A disk of USB, in and out while the machine runs."""
    subprocess.run(["/bin/busybox", "mount", "-t", "ext4", "/dev/sda", "/tmp"], check=True)
    look("usb", STICK)
    subprocess.run(["/bin/busybox", "umount", "/tmp"], check=True)
    found = look("usb", STICK)
    assert found is not None
    fd, passed = os.open(found.path, os.O_RDWR), Passed("usb", STICK)
    qemu.ask("add-fd", [fd], **{"fdset-id": 50000})
    os.close(fd)
    print(qemu.ask("device_add", **passthrough.device(passed, "", "/dev/fdset/50000")))
    qemu.show()
    print("disks of the host:", os.listdir("/sys/block"))
    qemu.ask("device_del", id=passthrough.device_id(passed))
    time.sleep(3)
    print("disks of the host behind it:", os.listdir("/sys/block"), flush=True)


def main() -> None:
    tablet = look("usb", TABLET)
    qemu = Qemu([*pci(), *([tablet] if tablet else [])])
    time.sleep(_RUNS)
    qemu.show()
    limits = Path(f"/proc/{qemu.pid}/limits").read_text()
    print(next(line for line in limits.splitlines() if "locked memory" in line))
    print(qemu.ask("migrate", uri="exec:true"))
    if tablet:
        stick(qemu)
    qemu.ask("quit")
    select.select([qemu.ended], [], [])
    print("done", flush=True)


if __name__ == "__main__":
    main()
