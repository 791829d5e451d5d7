"""What QEMU can do on the host while its guest runs: emulate it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

import taps
from corten.kernel import memfd, process, tap
from corten.kernel import syscall as sys_
from corten.vm import confine
from corten.vm.contract import Disk
from corten.vm.qemu import Inputs, Qemu
from corten.vm.template import Template
from e2e_parts.patience import PATIENCE
from vm import machines
from vm.machines import Evaluating

_TUNGETIFF = 0x800454D2
_SYS_ADD_KEY = 248 if os.uname().machine == "x86_64" else 217


@pytest.fixture(scope="module")
def running(saved: Template) -> Iterator[Evaluating]:
    """One machine for what only looks."""
    with machines.cloned(saved) as guest:
        guest.ask("1")
        yield guest


def _prepared(gate: int, _: socket.socket) -> list[int]:
    os.read(gate, 1)
    return [2, 2, 2]


def _access(pid: int, name: str) -> set[int]:
    """How the process has opened what its descriptors of this name are."""
    found = set()
    for fd, target in _descriptors(pid).items():
        if target.startswith(name):
            fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines())
            found.add(int(fields["flags"], 8) & os.O_ACCMODE)
    return found


def _descriptors(pid: int) -> dict[str, str]:
    """What they lead to, but for one that the process closes just now."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def _digest(fd: int) -> str:
    digest, offset = hashlib.sha256(), 0
    while piece := os.pread(fd, 1 << 20, offset):
        digest.update(piece)
        offset += len(piece)
    return digest.hexdigest()


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_no_rights(running: Evaluating) -> None:
    status = _status(running.machine.pid)
    user = confine.user_of(running.machine.pid)
    assert status["Uid"].split() == status["Gid"].split() == [str(user)] * 4
    assert status["Groups"] == ""
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert int(status["Seccomp_filters"]) >= 1


def test_a_user_for_each(running: Evaluating, saved: Template) -> None:
    with machines.cloned(saved) as other:
        users = {_status(guest.machine.pid)["Uid"] for guest in (running, other)}
    assert len(users) == 2


def test_namespaces_of_its_own(running: Evaluating) -> None:
    for kind in ("net", "mnt", "pid", "ipc", "uts", "cgroup"):
        theirs = os.readlink(f"/proc/{running.machine.pid}/ns/{kind}")
        assert theirs != os.readlink(f"/proc/self/ns/{kind}"), kind


def test_an_empty_network(running: Evaluating) -> None:
    lines = Path(f"/proc/{running.machine.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]
    for family in ("tcp", "udp", "raw", "packet"):
        assert len(Path(f"/proc/{running.machine.pid}/net/{family}").read_text().splitlines()) == 1, family


def test_nothing_of_the_host_to_write_to(running: Evaluating) -> None:
    """Every mount is read-only, and none but /usr is the host's."""
    lines = Path(f"/proc/{running.machine.pid}/mountinfo").read_text().splitlines()
    mounts = {line.split()[4]: line.split()[5].split(",") for line in lines}
    kinds = {line.split()[4]: line.split(" - ")[1].split()[0] for line in lines}
    assert "/usr" in mounts and kinds["/"] == "tmpfs" and kinds["/proc"] == "proc"
    assert all(place in ("/", "/proc") or place.startswith("/usr") for place in mounts)
    for place, options in mounts.items():
        assert "nosuid" in options, place
        assert place == "/proc" or "ro" in options, place


def test_its_root_has_nothing_else(running: Evaluating) -> None:
    root = f"/proc/{running.machine.pid}/root"
    names = set(os.listdir(root))
    assert names - {"bin", "sbin", "lib", "lib32", "lib64", "libx32"} == {"usr", "proc"}
    assert not os.path.exists(f"{root}/proc/sys")
    assert [name for name in os.listdir(f"{root}/proc") if name.isdigit()] == ["1"]


def test_every_object_is_a_descriptor_that_was_given(running: Evaluating) -> None:
    found = []
    for target in _descriptors(running.machine.pid).values():
        found.append(target.partition(":")[0] if not target.startswith("/") else target)
    assert set(found) <= {"pipe", "socket", "anon_inode", "/memfd:guest memory (deleted)"}
    assert "/memfd:guest memory (deleted)" in found


def test_no_descriptor_of_this_process(saved: Template) -> None:
    """Also what could be inherited is closed."""
    read, write = os.pipe()
    os.set_inheritable(read, True)
    os.set_inheritable(write, True)
    with machines.cloned(saved) as guest:
        inode = f"pipe:[{os.fstat(read).st_ino}]"
        held = _descriptors(guest.machine.pid).values()
    os.close(read)
    os.close(write)
    assert inode not in held


def test_limits(running: Evaluating) -> None:
    lines = Path(f"/proc/{running.machine.pid}/limits").read_text().splitlines()
    limits = {line[:26].strip(): line[26:].split()[:2] for line in lines}
    assert limits["Max core file size"] == ["0", "0"]
    assert int(limits["Max open files"][1]) <= 1024
    assert int(limits["Max processes"][1]) <= 256


def test_no_key_and_no_score_of_the_service() -> None:
    """A service has keys in its session (of disks, of file systems on the network), and is the last to be killed for
    lack of memory. In the place of QEMU is a program that looks for both."""
    seeking = (
        "import ctypes, os; keyctl = ctypes.CDLL(None).syscall; "
        f"key = keyctl({sys_.SYS_keyctl}, 10, -3, b'user', b'corten-test', 0); "  # KEYCTL_SEARCH in the session
        "os.write(3, f'{key} {open(\"/proc/self/oom_score_adj\").read()}'.encode())"
    )
    looking = (os.path.realpath(sys.executable), "-ISBc", seeking)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            os.write(writer, _as_a_service(looking).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as said:
        assert said.read().split() == ["7", "-1", "0"]
    os.waitpid(child, 0)


def _as_a_service(looking: tuple[str, ...]) -> str:
    """How long a key in the session of this process is, and what that program finds."""
    libc = ctypes.CDLL(None)
    process.join_new_session_keyring()
    key = libc.syscall(_SYS_ADD_KEY, b"user", b"corten-test", b"private", 7, -3)
    process.set_oom_score(500)  # in the place of a negative one, which takes a capability
    own, its = os.pipe()
    _, pidfd = confine.execute(looking, [its], 2, lambda: None, False)
    os.close(its)
    found = os.read(own, 100).decode()
    process.reap(pidfd)
    return f"{libc.syscall(sys_.SYS_keyctl, 11, key, None, 0, 0)} {found}"  # KEYCTL_READ


def test_the_host_s_end_of_its_tap_stays_as_it_is() -> None:
    """Whatever has a tap's descriptor may change its MAC address, which its bridge follows, and make it stay: so says
    the kernel. In the place of QEMU is a program that tries, and then asks what QEMU may ask."""
    mac = struct.pack("16sH14s8x", b"", 1, bytes.fromhex("020000000001"))
    requests = [*((one, 0) for one in tap.CHANGES[1:]), (tap.SIOCSIFHWADDR, mac), (_TUNGETIFF, bytes(40))]
    seeking = (
        "import fcntl, os\n"
        f"for request, argument in {requests}:\n"
        "    try: fcntl.ioctl(3, request, argument)\n"
        "    except OSError as error: os.write(4, error.strerror.encode() + b'\\n')\n"
        "    else: os.write(4, b'done\\n')\n"
    )
    program = (os.path.realpath(sys.executable), "-ISBc", seeking)
    own, its = os.pipe()
    with taps.tap(f"ct{os.getpid()}") as device:
        path = Path(f"/sys/class/net/{tap.name_of(device)}/address")
        before = path.read_text()
        _, pidfd = confine.execute(program, [device, its], 2, lambda: None, False)
        os.close(its)
        with open(own) as said:
            assert said.read().splitlines() == ["Operation not permitted"] * len(tap.CHANGES) + ["done"]
        process.reap(pidfd)
        assert path.read_text() == before
    assert not path.exists()


def test_its_command_line_and_environment_say_nothing(running: Evaluating) -> None:
    environment = Path(f"/proc/{running.machine.pid}/environ").read_bytes().split(b"\0")
    assert sorted(filter(None, environment)) == [b"HOME=/", b"LC_ALL=C.UTF-8", b"PATH=/usr/bin"]


def test_a_guests_root_changes_neither_layers_nor_template(saved: Template) -> None:
    """It writes to the disk by every way that its kernel has, and to all of its memory that Python reaches."""
    layers = memfd.holding("layers", [b"layer" * 100_000])
    reading = os.open(f"/proc/self/fd/{layers}", os.O_RDONLY)
    before = [_digest(fd) for fd in (layers, *saved)]
    with machines.cloned(saved) as guest:
        guest.machine.plug_disk(Disk("layers", reading, True))
        serials = "(f'/sys/block/{name}/serial' for name in os.listdir('/sys/block') if name.startswith('vd'))"
        node = guest.until(f"[path.split('/')[3] for path in {serials} if open(path).read().strip() == 'layers']")[0]
        guest.ask(f"libc.ioctl(os.open('/dev/{node}', os.O_RDONLY), 0x125d, ctypes.byref(ctypes.c_int(0)))")  # BLKROSET
        for flags in ("os.O_WRONLY", "os.O_RDWR | os.O_SYNC", "os.O_RDWR | os.O_DIRECT"):
            with pytest.raises(RuntimeError, match="Error"):
                guest.ask(f"(fd := os.open('/dev/{node}', {flags}), os.pwrite(fd, bytes(512), 0), os.fsync(fd)) and 1")
        guest.ask("len([bytes(1 << 20) for _ in range(60)])")
        assert _access(guest.machine.pid, "/memfd:layers") == {os.O_RDONLY}
    assert [_digest(fd) for fd in (layers, *saved)] == before
    os.close(layers)
    os.close(reading)


def test_it_ends_with_its_parent(saved: Template) -> None:
    """The parent is killed, so that nothing of ours can take QEMU down."""
    script = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from e2e_parts.patience import PATIENCE
from vm import machines
from corten.vm import template
machine = template.clone(machines.shape(), template.Template({saved.memory}, {saved.state}), lambda: None)
print(machine.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[*saved], text=True
    ) as parent:
        assert parent.stdout is not None
        machine = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    assert select.select([machine], [], [], PATIENCE)[0]
    os.close(machine)


@pytest.mark.parametrize("is_there", [True, False], ids=["there", "ended"])
def test_a_parent_that_has_ended_before_starts_nothing(monkeypatch: pytest.MonkeyPatch, is_there: bool) -> None:
    """The signal for the parent's end is set late, so its end may have been before."""
    gate, opened = os.pipe()
    ours, theirs = socket.socketpair()
    pid, pidfd = process.clone3(confine._NAMESPACES)
    if pid == 0:
        ours.close()
        confine._become(["/bin/busybox", "true"], partial(_prepared, gate), lambda _: None, theirs)
    theirs.close()
    if not is_there:
        ours.close()
    os.write(opened, b"!")
    status = process.reap(pidfd)
    for fd in (gate, opened):
        os.close(fd)
    ours.close()
    assert status == (0 if is_there else 1)


def refused_by_kvm() -> str:
    """What a QEMU says that is not confined, has nothing and executes nothing; "" when it starts."""
    arguments = "-nodefaults -no-user-config -display none -machine q35 -accel kvm -cpu host -m 64 -S -qmp stdio"
    done = subprocess.run(
        [machines.shape().qemu, *arguments.split()],
        input='{"execute": "qmp_capabilities"}{"execute": "quit"}',
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    return f"exit status {done.returncode}, {done.stderr.strip()!r}" if done.returncode else ""


def test_kvm_is_a_node_of_its_own(saved: Template) -> None:
    if not os.path.exists("/dev/kvm"):
        pytest.skip("this machine has no /dev/kvm")
    if why := refused_by_kvm():
        pytest.skip(f"this machine's KVM lets no QEMU start: {why}")
    machine = Qemu(machines.shape()._replace(accelerator="kvm"), Inputs(memory=saved.memory), lambda: None)
    try:
        assert machine.ask("query-kvm") == {"enabled": True, "present": True}
        root = f"/proc/{machine.pid}/root"
        assert os.listdir(f"{root}/dev") == ["kvm"]
        status = os.stat(f"{root}/dev/kvm")
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (confine.user_of(machine.pid), 0o600)
        assert status.st_rdev == os.stat("/dev/kvm").st_rdev
    finally:
        machine.close()


def test_a_guests_root_cannot_end_another_guest(running: Evaluating, saved: Template) -> None:
    """A QEMU that was taken over is another user, in another PID namespace."""
    with machines.cloned(saved) as other:
        pid, pidfd = process.clone3(0)
        if pid == 0:
            user = confine.user_of(other.machine.pid)
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            try:
                os.kill(running.machine.pid, signal.SIGKILL)
            except PermissionError:
                os._exit(0)
            os._exit(1)
        assert process.reap(pidfd) == 0
        assert running.ask("1") == 1
