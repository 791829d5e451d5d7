"""Docker's default profile as a container sees it (ESC-06, ESC-07, ESC-08, ESC-09, ESC-25, ESC-26, ESC-29)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from corten.plan.security import DEFAULT_CAPABILITIES, KNOWN_CAPABILITIES
from fault_parts.fragile import Fragile, until
from fault_parts.images import python, python_binds

STATUS = "grep -E '^(Cap|Groups|NoNewPrivs|Seccomp:|Uid|Gid)' /proc/self/status"


def bits(names: Sequence[str]) -> int:
    return sum(1 << KNOWN_CAPABILITIES.index(name) for name in names)


def status(said: str) -> dict[str, str]:
    return {key: " ".join(value.split()) for key, _, value in (line.partition(":") for line in said.splitlines())}


DEFAULT = bits(DEFAULT_CAPABILITIES)


@pytest.mark.parametrize(
    ("host", "config", "prm", "bounding"),
    [
        ({}, {}, DEFAULT, DEFAULT),
        ({}, {"User": "1000"}, 0, DEFAULT),
        ({"CapAdd": ["NET_ADMIN"]}, {"User": "1000"}, 0, DEFAULT | bits(["CAP_NET_ADMIN"])),
        ({"CapAdd": ["net_admin"], "CapDrop": ["CAP_CHOWN"]}, {}, (DEFAULT | bits(["CAP_NET_ADMIN"])) & ~1,
         (DEFAULT | bits(["CAP_NET_ADMIN"])) & ~1),
        ({"CapDrop": ["ALL"]}, {}, 0, 0),
        ({"CapDrop": ["ALL"], "CapAdd": ["CHOWN"]}, {}, 1, 1),
    ],
)  # fmt: skip
def test_capabilities(daemon: Fragile, host: dict[str, Any], config: dict[str, Any], prm: int, bounding: int) -> None:
    """ESC-07: in the first process and in an exec; never inheritable, never ambient."""
    id = daemon.run("sleep", "1000", host=host, **config)
    code, said = daemon.inside(id, "sh", "-c", STATUS)
    first = status(Path(f"/proc/{daemon.state(id)['Pid']}/status").read_text())
    for seen in (status(said), first):
        sets = {name: int(seen[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        assert sets == {"CapInh": 0, "CapPrm": prm, "CapEff": prm, "CapBnd": bounding, "CapAmb": 0}
        assert seen["Seccomp"] == "2" and seen["NoNewPrivs"] == "0"
    assert code == 0


def test_capabilities_of_a_privileged_exec_and_of_another_user(daemon: Fragile) -> None:
    id = daemon.run("sleep", "1000")
    own = status(Path("/proc/self/status").read_text())["CapBnd"]
    _, said = daemon.inside(id, "sh", "-c", STATUS, Privileged=True)
    seen = status(said)
    assert int(seen["CapEff"], 16) & ~int(own, 16) == 0 and int(seen["CapEff"], 16) > DEFAULT
    assert int(seen["CapInh"], 16) == int(seen["CapAmb"], 16) == 0
    _, said = daemon.inside(id, "sh", "-c", STATUS, User="1000")
    seen = status(said)
    assert int(seen["CapPrm"], 16) == int(seen["CapEff"], 16) == int(seen["CapInh"], 16) == 0
    assert int(seen["CapBnd"], 16) == DEFAULT


def test_privileged(daemon: Fragile) -> None:
    id = daemon.run("sleep", "1000", host={"Privileged": True})
    _, said = daemon.inside(id, "sh", "-c", STATUS)
    seen = status(said)
    assert seen["CapEff"] == seen["CapBnd"] == status(Path("/proc/self/status").read_text())["CapBnd"]
    assert seen["Seccomp"] == "0"


def test_no_new_privileges(daemon: Fragile) -> None:
    id = daemon.run("sleep", "1000", host={"SecurityOpt": ["no-new-privileges"]})
    assert status(Path(f"/proc/{daemon.state(id)['Pid']}/status").read_text())["NoNewPrivs"] == "1"
    assert status(daemon.inside(id, "sh", "-c", STATUS)[1])["NoNewPrivs"] == "1"


@pytest.mark.parametrize(
    ("user", "uid", "gid", "groups"),
    [
        ("", 0, 0, "0 10"),
        ("0", 0, 0, "0 10"),
        ("root", 0, 0, "0 10"),
        ("1", 1, 1, "1"),
        ("daemon", 1, 1, "1"),
        ("1234", 1234, 0, "0"),
        ("1234:5", 1234, 5, "5"),
        ("1234:tty", 1234, 5, "5"),
        ("daemon:0", 1, 0, "0"),
        (":5", 0, 5, "5"),
        ("daemon:", 1, 1, "1"),
        ("2147483647", 2147483647, 0, "0"),
        ("2147483648", -1, 0, ""),
        ("4294967295", -1, 0, ""),
        ("4294967296", -1, 0, ""),
        ("-1", -1, 0, ""),
        ("0x0", -1, 0, ""),
        ("+1", -1, 0, ""),
        ("nobody:2147483648", -1, 0, ""),
        ("\u0661", -1, 0, ""),
        ("nosuch", -1, 0, ""),
        ("root:nosuch", -1, 0, ""),
    ],
)
def test_user(daemon: Fragile, user: str, uid: int, gid: int, groups: str) -> None:
    """ESC-06, ESC-08: run and exec agree; exactly this id, or none at all, and never root by accident."""
    running = daemon.run("sleep", "1000")
    status_, made = daemon.ask("POST", f"/containers/{running}/exec", {"Cmd": ["id"], "User": user})
    body = {"Image": "corten/busybox", "Cmd": ["sh", "-c", STATUS], "User": user}
    started, answer = daemon.ask("POST", "/containers/create", body)
    if started == 201:
        id = answer["Id"]
        started, answer = daemon.ask("POST", f"/containers/{id}/start")
    if uid < 0:
        assert started in (400, 500) and answer["message"], (started, answer)
        if status_ == 201:
            assert daemon.ask("POST", f"/exec/{made['Id']}/start", {"Detach": True})[0] in (400, 500)
        return
    assert started == 204, answer
    daemon.wait(id)
    for said in (daemon.output(id), daemon.inside(running, "sh", "-c", STATUS, User=user)[1]):
        seen = status(said)
        assert seen["Uid"] == " ".join([str(uid)] * 4) and seen["Gid"] == " ".join([str(gid)] * 4)
        assert sorted(seen["Groups"].split()) == sorted(groups.split())


def test_group_that_a_file_is_closed_to(daemon: Fragile) -> None:
    """ESC-08: the primary group is among the supplementary ones, or chmod 604 would keep no member out."""
    code, said = daemon.outcome("sh", "-c", "echo x > /f; chown 0:5 /f; chmod 604 /f; echo made; exec sleep 0")
    assert (code, said) == (0, "made\n")
    id = daemon.run("sh", "-c", "echo x > /tmp/f; chown 0:5 /tmp/f; chmod 604 /tmp/f; echo made; exec sleep 1000")
    until(lambda: daemon.output(id) == "made\n", "the file is made")
    assert daemon.inside(id, "cat", "/tmp/f", User="1000:5")[0] == 1
    assert daemon.inside(id, "cat", "/tmp/f", User="1000:6") == (0, "x\n")
    other = daemon.run("sleep", "1000", host={"GroupAdd": ["tty", "77"]}, User="1000:6")
    seen = status(daemon.inside(other, "sh", "-c", STATUS)[1])
    assert sorted(seen["Groups"].split()) == ["5", "6", "77"]


MASKS = "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug " \
    "/proc/scsi /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware"  # fmt: skip
READ_ONLY = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger"


def test_masked_and_read_only_paths(daemon: Fragile) -> None:
    """ESC-25: what is there on the host is empty or unwritable inside, also after trying to undo it."""
    id = daemon.run("sleep", "1000")
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    undo = "for p in $0; do umount $p; mount -o remount,rw $p; chmod 777 $p; done 2>/dev/null; "
    for path in [p for p in MASKS.split() if Path(p).exists()]:
        if Path(path).is_dir():
            code, said = daemon.inside(id, "sh", "-c", undo + f"ls -A {path}; touch {path}/x", path)
            assert code == 1 and "Read-only" in said and len(said.splitlines()) == 1, (path, said)
        else:
            code, said = daemon.inside(id, "sh", "-c", undo + f"cat {path}; stat -c %t:%T {path}", path)
            assert (code, said) == (0, "1:3\n"), path
    for path in [p for p in READ_ONLY.split() if Path(p).exists()]:
        target = path if Path(path).is_file() else "/proc/sys/kernel/core_pattern"
        code, said = daemon.inside(id, "sh", "-c", undo + f"echo x > {target}", path)
        assert code == 1 and "Read-only" in said, (path, said)
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_mounts(daemon: Fragile) -> None:
    """2.3: flags of every mount, and nothing of the host's among them."""
    id = daemon.run("sleep", "1000")
    mounts = {}
    for line in Path(f"/proc/{daemon.state(id)['Pid']}/mountinfo").read_text().splitlines():
        words = line.split()
        mounts[words[4]] = set(words[5].split(","))
        assert "shared:" not in line, line
    assert mounts["/proc"] >= {"nosuid", "nodev", "noexec", "rw"}
    assert mounts["/dev"] >= {"nosuid"}
    assert mounts["/dev/pts"] >= {"nosuid", "noexec"}
    assert mounts["/dev/shm"] >= {"nosuid", "nodev", "noexec"}
    assert mounts["/dev/mqueue"] >= {"nosuid", "nodev", "noexec"}
    assert mounts["/sys"] >= {"ro", "nosuid", "nodev", "noexec"}
    cgroups = [path for path in mounts if path.startswith("/sys/fs/cgroup")]
    assert cgroups and all(mounts[path] >= {"ro", "nosuid", "nodev", "noexec"} for path in cgroups)


def test_cgroups_cannot_be_changed(daemon: Fragile) -> None:
    """ESC-09, ESC-29: no file of any tree can be written, no tree can be mounted, no process leaves the limits."""
    id = daemon.run("sleep", "1000", host={"PidsLimit": 20})
    files = "find /sys/fs/cgroup -type f -name '*procs' -o -name release_agent -o -name notify_on_release"
    _, said = daemon.inside(
        id, "sh", "-c", f"for f in $({files}); do (echo 1 > $f) 2>&1 && echo WRITTEN $f; done; true"
    )
    assert "WRITTEN" not in said and ("Read-only" in said or "nonexistent" in said)
    for attempt in ("mkdir /x && mount -t cgroup -o memory cgroup /x", "mkdir /y && mount -t cgroup2 none /y",
                    "unshare -Ur true", "unshare -C true", "mount -o remount,rw /sys/fs/cgroup"):  # fmt: skip
        code, said = daemon.inside(id, "sh", "-c", attempt)
        assert code != 0, (attempt, said)
    bomb = "for i in $(seq 40); do sleep 5 & done; wait"
    _, said = daemon.inside(id, "timeout", "20", "sh", "-c", bomb)
    assert "can't fork" in said or "Resource temporarily" in said, said


def test_devices(daemon: Fragile) -> None:
    """ESC-26: a node can be made, and not opened; those that are there are exactly Docker's."""
    id = daemon.run("sleep", "1000")
    tries = "mknod /mem c 1 1; cat /mem; mknod /disk b 254 0; head -c1 /disk; mknod /fuse c 10 229; cat /fuse; "
    _, said = daemon.inside(id, "sh", "-c", tries + "mknod /null c 1 3; echo x > /null && echo NULL")
    assert said.count("Operation not permitted") == 3 and "NULL\n" in said, said
    _, said = daemon.inside(id, "ls", "/dev")
    links = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
             "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"}  # fmt: skip
    if Path("/proc/kcore").exists():
        links["core"] = "/proc/kcore"
    assert set(said.split()) == {*links, *"full mqueue null pts random shm tty urandom zero".split()}
    for name, target in links.items():
        assert daemon.inside(id, "readlink", f"/dev/{name}") == (0, f"{target}\n")


CALLS = """
import ctypes, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
result = {}
for name, (number, *arguments) in json.loads(%r).items():
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
    result[name] = ctypes.get_errno() if answer < 0 else 0
families = {}
for family in range(46):
    try:
        socket.socket(family, socket.SOCK_RAW if family == 16 else socket.SOCK_STREAM).close()
        families[family] = 0
    except OSError as error:
        families[family] = error.errno
print(json.dumps([result, families]))
"""
GATED = {  # x86_64's number and arguments that would fail with something else than EPERM
    "bpf": (321, 0, 0, 0), "fsopen": (430, 0, 0), "fsmount": (432, -1, 0, 0), "fsconfig": (431, -1, 0, 0, 0, 0),
    "fspick": (433, -1, 0, 0), "open_tree": (428, -1, 0, 0), "move_mount": (429, -1, 0, -1, 0, 0),
    "mount_setattr": (442, -1, 0, 0, 0, 0), "mount": (165, 0, 0, 0, 0, 0), "umount2": (166, 0, 0),
    "unshare": (272, 0x10000000), "setns": (308, -1, 0), "pivot_root": (155, 0, 0),
    "open_by_handle_at": (304, -1, 0, 0), "reboot": (169, 0, 0, 0, 0), "init_module": (175, 0, 0, 0),
    "finit_module": (313, -1, 0, 0), "delete_module": (176, 0, 0), "acct": (163, 0), "iopl": (172, 0),
    "ioperm": (173, 0, 0, 0), "settimeofday": (164, 0, 0), "syslog": (103, 3, 0, 0), "kexec_load": (246, 0, 0, 0, 0),
    "swapon": (167, 0, 0), "keyctl": (250, 0, 0), "add_key": (248, 0, 0, 0, 0, 0), "request_key": (249, 0, 0, 0, 0),
    "userfaultfd": (323, 0), "io_uring_setup": (425, 0, 0), "perf_event_open": (298, 0, 0, 0, 0, 0),
    "fanotify_init": (300, 0, 0), "quotactl": (179, 0, 0, 0, 0), "lookup_dcookie": (212, 0, 0, 0),
    "sethostname": (170, 0, 0), "setdomainname": (171, 0, 0), "vhangup": (153,), "clone_newuser": (56, 0x10000000, 0),
}  # fmt: skip


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers are x86_64's")
def test_system_calls(daemon: Fragile) -> None:
    """ESC-09: what is gated fails with EPERM (clone3 with ENOSYS), and so do AF_ALG and AF_VSOCK."""
    code = CALLS % json.dumps({**GATED, "clone3": (435, 0, 0), "new": (600,), "getpid": (39,)})
    status_, said = daemon.outcome(*python(code), host={"Binds": python_binds()})
    assert status_ == 0, said
    calls, families = json.loads(said)
    assert {name: errno for name, errno in calls.items() if errno != 1} == {"clone3": 38, "new": 38, "getpid": 0}
    refused = {int(family) for family, errno in families.items() if errno == 1}
    assert refused >= {38, 40} and 1 not in refused and 2 not in refused and 39 not in refused


def test_namespaces_are_not_the_hosts(daemon: Fragile) -> None:
    id = daemon.run("sleep", "1000")
    kinds = ["mnt", "uts", "ipc", "pid", "net"]
    kinds += [kind for kind in ("cgroup", "time") if Path(f"/proc/self/ns/{kind}").exists()]
    pid = daemon.state(id)["Pid"]
    _, said = daemon.inside(id, "sh", "-c", "for k in " + " ".join(kinds) + "; do readlink /proc/self/ns/$k; done")
    inside = said.split()
    for kind, seen in zip(kinds, inside):
        theirs = os.readlink(f"/proc/{pid}/ns/{kind}")
        assert seen == theirs, f"an exec is in the same {kind} namespace"
        if kind == "cgroup" and theirs == os.readlink("/proc/self/ns/cgroup"):
            assert daemon.inspect(id)["HostConfig"]["CgroupnsMode"] == "host"  # Docker's default on cgroup v1
            continue
        assert theirs != os.readlink(f"/proc/self/ns/{kind}"), kind
    assert os.readlink(f"/proc/{pid}/ns/user") == os.readlink("/proc/self/ns/user")


def test_environment_and_keys_of_the_daemon_stay_outside(daemon: Fragile) -> None:
    id = daemon.run("sleep", "1000")
    environment = Path(f"/proc/{daemon.state(id)['Pid']}/environ").read_bytes().decode()
    names = {entry.partition("=")[0] for entry in environment.strip("\0").split("\0")}
    assert names == {"PATH", "HOSTNAME", "HOME"}
    assert re.search(r"^Umask:\s+0022$", Path(f"/proc/{daemon.state(id)['Pid']}/status").read_text(), re.M)
    signals = status(Path(f"/proc/{daemon.state(id)['Pid']}/status").read_text())
    assert int(signals["SigIgn"], 16) == int(signals["SigBlk"], 16) == 0
