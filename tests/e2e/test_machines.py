"""corten vm: whole machines, with the smallest guest there is (`vm.tiny`): a kernel and busybox."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.spec import iso9660, qcow2
from e2e_parts import certificates
from e2e_parts.cortend import Cortend
from e2e_parts.http import hijack
from e2e_parts.machines import LIMIT, MARKS, Vm, console, place, serving
from e2e_parts.others import need
from free_ports import free_port

pytestmark = MARKS


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vm]:
    yield from serving(tmp_path_factory.mktemp("machines"))


def test_a_life(vm: Vm) -> None:
    """Created, started, seen by its console, its network and the daemon after next, and shut down."""
    port = free_port()  # one that no other daemon chooses while this one is gone
    assert vm.create("web", "--disk", "1g", "--cloud-init", os.devnull, "-p", f"127.0.0.1:{port}:80") == "web"
    assert "Created" in vm.run("vm", "ls", "-a")
    vm.run("vm", "start", "web")
    vm.ready("web")
    shown = vm.inspect("web")
    networks = shown["NetworkSettings"]["Networks"]  # type: ignore[index]
    address = networks["bridge"]["IPAddress"]
    assert f"inet {address}/" in console(vm, "web", "ip addr show eth0; echo e''nd", "end")
    assert "1073741824" in console(vm, "web", "expr $(cat /sys/block/vda/size) \\* 512", "1073741824")
    vm.daemon.restart_killed()
    assert "Up " in vm.run("vm", "ls")
    console(vm, "web", "(echo reached | nc -l -p 80) & echo listen''s", "listens")
    assert vm.inspect("web")["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == str(port)  # type: ignore[index]

    def reached() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), LIMIT) as connection:
                connection.settimeout(LIMIT)
                return connection.recv(16) == b"reached\n"
        except ConnectionRefusedError:  # it does not listen yet
            return False

    vm.until(reached)
    assert "is running" in vm.run("vm", "rm", "web", code=1)
    assert "disk web-disk0 is in use" in vm.run("vm", "create", "--disk", "web-disk0", code=1)
    vm.run("vm", "stop", "-t", str(LIMIT), "web")
    assert vm.inspect("web")["State"]["ExitCode"] == 0  # type: ignore[index]
    vm.run("vm", "rm", "-v", "web")


def test_cds_change(vm: Vm, tmp_path: Path) -> None:
    """While it runs, and while it is off; the guest here uses none. Limits of disks are QEMU's."""
    first, second = tmp_path / "first.iso", tmp_path / "second.iso"
    first.write_bytes(iso9660.write("first", {"one": b"1"}))
    second.write_bytes(iso9660.write("second", {"two": b"2"}))
    vm.create("reader", "--disk", "64m", "--cdrom", str(first), "--network", "none")
    assert "is the disk of a machine" in vm.run("create", "-v", "reader-disk1:/x", "corten/busybox", code=1)
    for running in (False, True):
        if running:
            vm.run("vm", "start", "reader")
        assert vm.run("vm", "device", "eject", "reader") == "reader\n"
        assert "is empty" in vm.run("vm", "device", "eject", "reader", code=1)
        assert cds(vm, "reader") == [""]
        assert vm.run("vm", "device", "insert", "reader", str(second)) == "disk1\n"
        assert cds(vm, "reader") == ["reader-cd0"]
        assert vm.run("vm", "update", "reader", "--cdrom", "reader-disk1") == "reader: disk1: done\n"
        assert cds(vm, "reader") == ["reader-disk1"]
        vm.run("volume", "rm", "reader-cd0")
    assert "no CD drive disk0" in vm.run("vm", "device", "insert", "--device", "disk0", "reader", str(second), code=1)
    assert "no such volume" in vm.run("vm", "device", "insert", "reader", "nothing", code=1)
    assert cds(vm, "reader") == [""], "what was in the drive came out first"
    limits = ["--device-write-bps", "disk0=1m", "--device-read-iops", "disk0=100"]
    assert vm.run("vm", "update", "reader", *limits) == "reader: disk0 limits: done\n"
    expected = {"ReadBps": 0, "WriteBps": 1 << 20, "ReadIOps": 100, "WriteIOps": 0}
    assert vm.inspect("reader")["Disks"][0]["Limits"] == expected  # type: ignore[index]
    vm.run("vm", "kill", "reader")
    vm.run("vm", "start", "reader")
    assert vm.run("vm", "update", "reader", "--device-read-iops", "disk0=0") == "reader: disk0 limits: done\n"
    assert "as disk0=10m" in vm.run("vm", "update", "reader", "--device-write-bps", "disk0=x", code=1)
    vm.ready("reader")
    begin = time.monotonic()
    console(vm, "reader", "dd if=/dev/zero of=/dev/vda bs=64k count=48 oflag=direct; echo writ''ten", "written")
    assert time.monotonic() - begin > 1.5, "3 MiB at one a second, of which a tenth is free"
    vm.run("vm", "rm", "-f", "-v", "reader")
    vm.run("volume", "rm", "reader-disk1")


def cds(vm: Vm, name: str) -> list[str]:
    return [disk["Volume"] for disk in vm.inspect(name)["Disks"] if disk["CDROM"]]  # type: ignore[attr-defined]


def test_a_scsi_disk_and_a_paravirtual_screen(vm: Vm, tmp_path: Path) -> None:
    """A disk behind virtio-scsi is snapshotted, limited and written to as others are."""
    assert "no kind of screen" in vm.run("vm", "create", "--video", "cga", "--disk", "1m", code=1)
    vm.create("para", "--disk", "size=32m,bus=scsi", "--video", "virtio", "--network", "none", "--start")
    vm.ready("para")
    console(vm, "para", "echo before | dd of=/dev/sda conv=sync oflag=direct; echo writ''ten", "written")
    assert "0x1050" in console(vm, "para", "cat /sys/bus/pci/devices/*/device; echo e''nd", "end"), "of virtio's GPU"
    assert "32" in console(vm, "para", "expr $(cat /sys/block/sda/size) / 2048; echo e''nd", "end")
    vm.run("vm", "snapshot", "create", "para", "one")
    console(vm, "para", "echo after | dd of=/dev/sda conv=sync oflag=direct; echo writ''ten", "written")
    vm.run("vm", "snapshot", "revert", "para", "one")
    assert "before" in console(vm, "para", "dd if=/dev/sda bs=512 count=1 iflag=direct; echo re''ad", "read")
    limited = vm.run("vm", "update", "para", "--device-write-bps", "disk0=1m", "--disk", "disk0=48m")
    assert limited == "para: disk0: done\npara: disk0 limits: done\n"
    assert "bus scsi, and cannot be removed" in vm.run("vm", "device", "rm", "para", "--disk", "disk0", code=1)
    shot = tmp_path / "para.png"
    vm.run("vm", "screenshot", "para", "-o", str(shot))
    assert shot.read_bytes().startswith(b"\x89PNG")
    vm.run("vm", "rm", "-f", "-v", "para")


def test_what_it_is_and_has_changes(vm: Vm) -> None:
    """Live: memory, processors, a disk's size, disks and networks; a snapshot with memory; save; all of it goes on."""
    vm.run("network", "create", "second")
    vm.create("grown", "--disk", "64m", "--max-cpus", "2", "--display", "--start")
    vm.ready("grown")
    assert vm.run("vm", "update", "grown", "-m", "320m", "--cpus", "2", "--disk", "disk0=96m") == (
        "grown: Memory: done\ngrown: CPUs: done\ngrown: disk0: done\n"
    )
    assert "does not become smaller" in vm.run("vm", "update", "grown", "--disk", "disk0=1m", code=1)
    wait = "until { %s; }; do sleep 0.1; done; echo before >/mark; echo se''en"
    given = vm.inspect("grown")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]  # type: ignore[index]
    assert f"inet {given}/" in console(vm, "grown", "cat /names; ip addr show eth0; echo dh''cp", "dhcp")
    console(vm, "grown", wait % "[ $(cat /sys/block/vda/size) = 196608 ]", "seen")
    console(vm, "grown", wait % "[ $(cat /sys/devices/system/cpu/present) = 0-1 ]", "seen")
    console(vm, "grown", wait % "[ $(sed -n 's/MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo) -gt 204800 ]", "seen")
    assert vm.run("vm", "device", "add", "grown", "--disk", "32m") == "disk1\n"
    vm.run("vm", "device", "add", "grown", "--network", "second")
    console(vm, "grown", wait % "[ -e /sys/block/vdb ] && [ -e /sys/class/net/eth1 ]", "seen")
    assert vm.run("vm", "snapshot", "create", "grown", "one") == "one\n"
    assert "has a snapshot one already" in vm.run("vm", "snapshot", "create", "grown", "one", code=1)
    addresses = vm.run("vm", "ls", "--format", "{{.Addresses}}")
    console(vm, "grown", "echo after >/mark; echo chan''ged", "changed")
    vm.run("vm", "snapshot", "revert", "grown", "one")
    assert "before" in console(vm, "grown", "cat /mark; echo re''ad", "read")
    vm.run("vm", "save", "grown")
    assert "(Saved)" in vm.run("vm", "ls", "-a") and (place(vm, "grown") / "state").exists()
    vm.run("vm", "start", "grown")
    assert "before" in console(vm, "grown", "cat /mark; echo re''ad", "read")
    assert not (place(vm, "grown") / "state").exists()
    assert vm.run("vm", "ls", "--format", "{{.Addresses}}") == addresses, "the guest has set them itself"
    vm.run("vm", "device", "rm", "grown", "--disk", "disk1")
    vm.run("vm", "device", "rm", "grown", "--network", "second")
    console(vm, "grown", wait % "[ ! -e /sys/block/vdb ] && [ ! -e /sys/class/net/eth1 ]", "seen")
    picture = subprocess.run(
        [str(Path(sys.executable).parent / "corten"), "-H", vm.daemon.address, "vm", "screenshot", "grown", "-o", "-"],
        capture_output=True, timeout=LIMIT, check=True,
    ).stdout  # fmt: skip
    assert picture.startswith(b"\x89PNG")
    assert screen_of(vm, "grown") == b"RFB 003.008\n"
    assert "install qemu-guest-agent" in vm.run("vm", "exec", "grown", "true", code=1)
    vm.run("vm", "snapshot", "rm", "grown", "one")
    vm.run("vm", "rm", "-f", "-v", "grown")
    vm.run("volume", "rm", "grown-disk1")
    vm.run("network", "rm", "second")


def screen_of(vm: Vm, name: str) -> bytes:
    """What QEMU says first to a client of VNC."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT)
        connection.connect(str(vm.daemon.socket))
        ask = f"POST /vms/{name}/attach?console=vnc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        connection.sendall(ask.encode())
        said = b""
        while b"\r\n\r\n" not in said or len(said.partition(b"\r\n\r\n")[2]) < 12:
            piece = connection.recv(4096)
            assert piece, said
            said += piece
        return said.partition(b"\r\n\r\n")[2]


def test_one_archive(vm: Vm, tmp_path: Path) -> None:
    """A clone and what it is based on, and a raw disk, go out and come in as another machine."""
    raw, packed = tmp_path / "raw.img", tmp_path / "packed.tar"
    raw.write_bytes(b"raw begins" + bytes(1 << 20) + b"raw ends".ljust(512, b"\0"))
    vm.run("volume", "create", "-d", "disk", "-o", "size=2m", "-o", "format=raw", "plain")
    (vm.daemon.data / "volumes/plain/_data/disk.raw").write_bytes(raw.read_bytes())
    vm.create("first", "--disk", f"from={raw}", "-l", "of=first")
    vm.run("vm", "clone", "first", "packed")
    vm.run("vm", "device", "add", "packed", "--disk", "plain")
    vm.run("vm", "export", "packed", "-o", str(packed))
    assert "say which ones of this host with --kernel" in vm.run("vm", "import", "--name", "p", str(packed), code=1)
    assert vm.run("vm", "import", *vm.files, "--name", "packed2", str(packed)) == "packed2\n"
    shown = vm.inspect("packed2")
    assert [disk["Chain"] for disk in shown["Disks"]] == [  # type: ignore[attr-defined]
        ["packed2-disk0-base1", "packed2-disk0"], ["packed2-disk1"],
    ]  # fmt: skip
    assert shown["Config"]["Labels"] == {"of": "first"}  # type: ignore[index]
    there = vm.daemon.data / "volumes"
    assert b"raw ends" in (there / "packed2-disk0-base1/_data/disk.qcow2").read_bytes()
    assert (there / "packed2-disk1/_data/disk.raw").read_bytes() == raw.read_bytes()
    assert 'name "packed" is already in use' in vm.run("vm", "import", *vm.files, str(packed), code=1)
    data = packed.read_bytes()
    hostile = {
        "short": (data[: len(data) // 2], "ends too early"),
        "none": (bytes(10240), "this is no archive of a machine"),
        "name": (data.replace(b"disks/disk1/0.raw", b"../../../etc/pass"), "this is no archive of a machine"),
    }
    for name, (content, message) in hostile.items():
        (tmp_path / name).write_bytes(content)
        assert message in vm.run("vm", "import", *vm.files, "--name", "wrong", str(tmp_path / name), code=1)
    assert "wrong" not in vm.run("volume", "ls", "-q") + vm.run("vm", "ls", "-aq")
    for name in ("first", "packed", "packed2"):
        vm.run("vm", "rm", "-v", name)
    assert "-base" not in vm.run("volume", "ls", "-q")


def test_images_of_others(vm: Vm, tmp_path: Path) -> None:
    """What is taken in is copied by a QEMU that can open nothing else, and what leads elsewhere is refused."""
    raw, hostile = tmp_path / "a,b=c.img", tmp_path / "hostile.qcow2"
    raw.write_bytes(b"boot" + bytes(1 << 20) + b"end of it".ljust(512, b"\0"))
    vm.run("volume", "create", "-d", "disk", "-o", f"from={raw}", "-o", "size=4m", "copied")
    assert vm.run("volume", "ls", "-f", "driver=disk", "-q") == "copied\n"
    made = vm.daemon.data / "volumes/copied/_data/disk.qcow2"
    header = qcow2.parse(made.read_bytes()[:4096])
    assert (header.size, header.backing) == (4 << 20, b"")
    assert made.stat().st_mode & 0o777 == 0o600
    pieces = dict(qcow2.empty(1 << 30, b"/etc/shadow", b"raw"))
    hostile.write_bytes(b"".join(pieces[at].ljust(65536, b"\0") for at in (0, 65536, 131072)) + bytes(65536))
    refused = vm.run("volume", "create", "-d", "disk", "-o", f"from={hostile}", "stolen", code=1)
    assert "based on another file (/etc/shadow), which is not followed" in refused
    broken = tmp_path / "broken.vmdk"
    broken.write_bytes(b"KDMV" + b"\xff" * 600)
    assert "an image of a disk of" in vm.run("volume", "create", "-d", "disk", "-o", f"from={broken}", "broken", code=1)
    vm.run("volume", "rm", "copied")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--disk", "nothing"], "no such volume: a size makes it, as volume=nothing,size=20g"),
        (["--disk", "/nowhere.qcow2"], "there is no file /nowhere.qcow2 on the daemon's machine"),
        (["--disk", "size=999t"], "64 TiB are possible"),
        (["-m", "1m"], "a machine has 16.78MB to"),
        (["--cpus", "65"], "a machine has 1 to 64 processors"),
        (["--network", "nowhere"], "network nowhere not found"),
        (["--firmware", "coreboot"], 'no firmware: "coreboot"; there are bios, uefi, kernel'),
        (["--append", "x"], "are given with a kernel"),
        (["--restart", "sometimes"], "unknown policy 'sometimes'"),
    ],
)
def test_what_cannot_be(vm: Vm, words: list[str], message: str) -> None:
    """One sentence, and nothing is left."""
    assert message in vm.run("vm", "create", "wrong", *words, code=1)


def test_its_supervisor_is_killed(vm: Vm) -> None:
    """QEMU goes with it, and the record says so."""
    vm.create("killed", "--disk", "64m", "--start")
    run = vm.daemon.exec / "machines" / str(vm.inspect("killed")["Id"])
    state = json.loads((run / "state.json").read_text())
    os.kill(state["supervisor"], signal.SIGKILL)
    vm.run("vm", "wait", "killed")
    shown = vm.inspect("killed")["State"]
    assert (shown["Status"], shown["ExitCode"]) == ("exited", 137)  # type: ignore[index]
    vm.until(lambda: not Path(f"/proc/{state['pid']}/exe").exists() and not run.exists())
    vm.run("vm", "start", "killed")
    assert vm.run("vm", "inspect", "--qemu", "killed").startswith("/usr/bin/qemu-system-x86_64 ")
    pid = int(vm.inspect("killed")["State"]["Pid"])  # type: ignore[index]
    status = Path(f"/proc/{pid}/status").read_text()
    assert "Seccomp:\t2" in status and "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
    assert "\nUid:\t0\t" not in status
    os.kill(pid, signal.SIGKILL)
    assert vm.run("vm", "wait", "killed") == "137\n"
    assert vm.inspect("killed")["State"]["Error"] == "QEMU was ended by signal 9 (SIGKILL)"  # type: ignore[index]
    vm.run("vm", "start", "killed")
    vm.run("vm", "kill", "killed")
    assert vm.inspect("killed")["State"]["Error"] == "", "a client has asked for it"  # type: ignore[index]
    vm.run("vm", "rm", "-v", "killed")


def test_its_supervisor_does_not_answer(vm: Vm) -> None:
    """While a daemon begins: it runs, and others are served; it is ended when a client asks for that."""
    vm.create("silent", "--start")
    run = vm.daemon.exec / "machines" / str(vm.inspect("silent")["Id"])
    state = json.loads((run / "state.json").read_text())
    os.kill(state["supervisor"], signal.SIGSTOP)
    vm.daemon.restart_killed()
    shown = vm.inspect("silent")
    assert shown["State"]["Status"] == "running"  # type: ignore[index]
    assert shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]  # type: ignore[index]
    assert "cannot reach the supervisor of machine silent" in vm.run("vm", "pause", "silent", code=1)
    vm.run("vm", "rm", "-f", "silent")
    assert not Path(f"/proc/{state['pid']}/exe").exists() and not run.exists()


def test_its_supervisor_answers_again(vm: Vm) -> None:
    vm.create("late", "--start")
    run = vm.daemon.exec / "machines" / str(vm.inspect("late")["Id"])
    supervisor = json.loads((run / "state.json").read_text())["supervisor"]
    os.kill(supervisor, signal.SIGSTOP)
    vm.daemon.restart_killed()
    os.kill(supervisor, signal.SIGCONT)
    with vm.daemon.connection() as connection:
        vm.until(lambda: connection.ask("GET", "/vms/late/stats")[0] == 200)
    vm.run("vm", "rm", "-f", "late")


def test_killed_while_it_changes(vm: Vm) -> None:
    """A guest that does not give up its disk holds no kill up."""
    vm.create("stuck", "--start")
    vm.run("vm", "device", "add", "stuck", "--disk", "1m")
    vm.run("vm", "pause", "stuck")
    with vm.daemon.connection() as removing, vm.daemon.connection() as other:
        removing.request("DELETE", "/vms/stuck/disks/disk0")
        for _ in range(5):  # it has been read behind these
            assert other.ask("GET", "/_ping")[0] == 200
        vm.run("vm", "kill", "stuck")
        assert "does not give up" not in removing.getresponse().read().decode()
    vm.run("vm", "rm", "-v", "stuck")


def test_a_daemon_is_killed_while_a_machine_comes(vm: Vm) -> None:
    """What has not arrived is gone, but for a disk of it that others have meanwhile."""
    vm.create("gone", "--disk", "1m", "--disk", "1m", "--start")
    described = vm.daemon.get("/vms/gone/migration")
    vm.run("vm", "rm", "-f", "-v", "gone")
    status, made = vm.daemon.ask("POST", f"/vms/incoming?{vm.query}", described)
    assert status == 201, made
    state = json.loads((vm.daemon.exec / "machines" / made["Id"] / "state.json").read_text())
    vm.run("volume", "create", "--driver", "disk", "-o", "backing=gone-disk0", "based")
    vm.daemon.restart_killed()
    assert vm.run("vm", "ls", "-a", "-q") == ""
    assert vm.run("volume", "ls", "-q").split() == ["based", "gone-disk0"]
    assert not Path(f"/proc/{state['pid']}/exe").exists()
    vm.run("volume", "rm", "based", "gone-disk0")


def _supervisor(vm: Vm, name: str) -> int:
    return int(
        json.loads((vm.daemon.exec / "machines" / str(vm.inspect(name)["Id"]) / "state.json").read_text())["supervisor"]
    )


def _digest(said: str) -> str:
    return next(word for word in said.split() if len(word) == 64)


def test_variables_of_uefi_move(vm: Vm) -> None:
    """What firmware has written is on the other side, where it writes on."""
    need("swtpm")  # beside which there is the firmware
    command = [str(Path(sys.executable).parent / "corten"), "-H", vm.daemon.address]
    subprocess.run([*command, "vm", "create", "firm", "--uefi", "-m", "128m", "--disk", "16m", "--network", "none",
                    "--start"], check=True, capture_output=True, timeout=LIMIT)  # fmt: skip
    written = "Boot0000".encode("utf-16-le")
    variables = place(vm, "firm") / "uefi-variables.qcow2"
    vm.until(lambda: written in variables.read_bytes())
    vm.run("vm", "migrate", "--name", "firmer", "firm", vm.daemon.address)
    vm.until(lambda: written in (place(vm, "firmer") / "uefi-variables.qcow2").read_bytes())
    vm.run("vm", "rm", "-f", "-v", "firmer")


def test_a_tpm(vm: Vm) -> None:
    """The guest finds it, it keeps what it has, its process has no rights; without it the machine ends."""
    need("swtpm")
    vm.create("sealed", "--disk", "64m", "--network", "none", "--tpm", "--start")
    state = place(vm, "sealed") / "tpm/tpm2-00.permall"
    vm.until(state.exists)
    size = state.stat().st_size
    vm.ready("sealed")
    assert "version 2" in console(
        vm, "sealed", "echo version $(cat /sys/class/tpm/tpm0/tpm_version_major)", "version 2"
    )
    pcr = "exec 3<>/dev/tpm0; printf '%s' >&3; head -c %d <&3 | tail -c 32 | sha256sum; exec 3>&-; echo do''ne"
    extend = (
        "\\x80\\2\\0\\0\\0\\x41\\0\\0\\1\\x82\\0\\0\\0\\xa"
        "\\0\\0\\0\\x9\\x40\\0\\0\\x9\\0\\0\\0\\0\\0\\0\\0\\0\\1\\0\\xb"
    )
    read = "\\x80\\1\\0\\0\\0\\x14\\0\\0\\1\\x7e\\0\\0\\0\\1\\0\\xb\\3\\0\\4\\0"
    console(vm, "sealed", pcr % (extend + "x" * 32, 19), "done")
    before = _digest(console(vm, "sealed", pcr % (read, 62), "done"))
    vm.run("vm", "migrate", *vm.files, "--name", "moved", "sealed", vm.daemon.address)
    assert _digest(console(vm, "moved", pcr % (read, 62), "done")) == before
    assert (place(vm, "moved") / "tpm/tpm2-00.permall").stat().st_size == size
    vm.run("vm", "migrate", *vm.files, "--name", "sealed", "moved", vm.daemon.address)
    state = place(vm, "sealed") / "tpm/tpm2-00.permall"
    supervisor = _supervisor(vm, "sealed")
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    (chip,) = [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "swtpm\n"]
    status = Path(f"/proc/{chip}/status").read_text()
    assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status and "\nUid:\t0\t" not in status
    kept = state.read_bytes()
    os.kill(chip, signal.SIGKILL)
    assert vm.run("vm", "wait", "sealed") == "137\n"
    assert vm.inspect("sealed")["State"]["Error"] == "the machine's TPM (swtpm) has ended"  # type: ignore[index]
    vm.run("vm", "start", "sealed")
    assert vm.inspect("sealed")["State"]["Running"] and len(state.read_bytes()) == len(kept)  # type: ignore[index]
    vm.run("vm", "rm", "-f", "-v", "sealed")


def test_a_destination_that_says_nothing_holds_no_machine_up(vm: Vm) -> None:
    """QEMU, and its guest with it, waits for a server of NBD to agree: for none that is silent, and not for ever."""
    vm.create("held", "--disk", "64m", "--network", "none", "--start")
    vm.ready("held")
    for said in (b"", b"NBDMAGICIHAVEOPT"):
        assert vm.daemon.ask("GET", "/vms/held/migration")[0] == 200
        with hijack(vm.daemon.socket, "/vms/held/migration/disks/disk0/attach", LIMIT) as silent:
            silent.sendall(said)
            if not said:
                assert "e2" in console(vm, "held", "echo e$((1+1)); echo do''ne", "done")
                vm.daemon.get("/vms/held/jobs")
            while silent.recv(4096):  # what QEMU says first, and the end
                pass
        assert "e2" in console(vm, "held", "echo e$((1+1)); echo do''ne", "done")
    vm.run("vm", "rm", "-f", "-v", "held")


# Memory that changes all the time, and is looked at: what a move has missed is seen.
BUSY = (
    'awk \'BEGIN { while (1) { n++; for (i = 0; i < 9000; i++) a[i] = n + i; print n >"/rounds"; close("/rounds");'
    " for (i = 0; i < 9000; i++) if (a[i] != n + i) { print n >\"/broken\"; exit } } }' & echo beg''un"
)
ROUND = 'n=$(cat /rounds); while [ "$(cat /rounds)" = "$n" ]; do sleep 0.1; done; echo go""es'


def test_moves_and_backups(vm: Vm, tmp_path: Path) -> None:
    """Backed up by what has changed; moved to another daemon while it runs, and back; a target that ends changes
    nothing."""
    need("openssl")
    certificates.make(tmp_path)
    port = free_port()
    serving = [
        f"--tlscacert={tmp_path}/ca.pem",
        f"--tlscert={tmp_path}/server.pem",
        f"--tlskey={tmp_path}/server-key.pem",
    ]
    asking = [f"--tlscacert={tmp_path}/ca.pem", f"--tlscert={tmp_path}/cert.pem", f"--tlskey={tmp_path}/key.pem"]
    other = Vm(Cortend(tmp_path, "-H", f"127.0.0.1:{port}", "--tlsverify", *serving), tmp_path)
    other.daemon.start()
    try:
        vm.create("mover", "--disk", "64m", "--network", "none", "--start")
        vm.ready("mover")
        write = "echo %s | dd of=/dev/vda bs=512 count=1 seek=%d; sync; echo writ''ten"
        console(vm, "mover", write % ("first", 9), "written")
        assert vm.run("vm", "backup", "mover", "b1") == "b1\n"
        console(vm, "mover", write % ("second", 4000), "written")
        vm.run("vm", "backup", "mover", "b2")
        console(vm, "mover", "echo kept >/mark; echo do''ne", "done")
        console(vm, "mover", BUSY, "begun")
        described = vm.daemon.get("/vms/mover/migration")
        status, made = other.daemon.ask("POST", "/vms/incoming", described)
        assert status == 400 and "say which ones of this host with --kernel" in made["message"]
        status, made = other.daemon.ask("POST", f"/vms/incoming?{vm.query}", described)
        assert status == 201, made
        run = other.daemon.exec / "machines" / made["Id"]
        os.kill(json.loads((run / "state.json").read_text())["pid"], signal.SIGKILL)
        other.until(lambda: other.run("vm", "ls", "-a", "-q") == other.run("volume", "ls", "-q") == "")
        assert vm.daemon.ask("DELETE", "/vms/mover/migration")[0] == 204
        assert "kept" in console(vm, "mover", "cat /mark; echo re''ad", "read")
        there = f"tcp://127.0.0.1:{port}"
        assert "to an HTTPS server" in vm.run("vm", "migrate", *vm.files, "mover", there, code=1)
        assert "kept" in console(vm, "mover", "cat /mark; echo re''ad", "read")
        assert vm.run("--tlsverify", *asking, "vm", "migrate", *vm.files, "mover", there) == "mover\n"
        assert vm.run("vm", "ls", "-a", "-q") == ""
        assert other.run("vm", "ls", "-q") == "mover\n"
        read = "cat /mark; dd if=/dev/vda bs=512 count=1 skip=%d iflag=direct | head -c 6; echo re''ad"
        console(other, "mover", ROUND, "goes")
        said = console(other, "mover", "ls /bro*; " + read % 4000, "read")
        assert "/broken" not in said
        assert "kept" in said and "second" in said
        assert other.run("vm", "migrate", *vm.files, "--name", "back", "mover", vm.daemon.address) == "back\n"
        assert other.run("volume", "ls", "-q") == ""
        assert "kept" in console(vm, "back", read % 9, "read")
        vm.run("vm", "rm", "-f", "-v", "back")
        first, second = (vm.daemon.data / f"volumes/{name}/_data/disk.qcow2" for name in ("b1", "b2"))
        assert b"first" in first.read_bytes() and b"second" not in first.read_bytes()
        assert b"second" in second.read_bytes() and b"first" not in second.read_bytes()
        vm.run("volume", "rm", "b2", "b1")
    finally:
        for name in other.run("vm", "ls", "-a", "-q").split():
            other.run("vm", "rm", "-f", name)
        other.daemon.stop()
