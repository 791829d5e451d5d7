"""What a container can see and do: namespaces, capabilities, filters, masks, devices; and the flags that change it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend

DEFAULT_CAPABILITIES = 0x00000000A80425FB


def inside(client: Client, *flags: str, script: str, code: int = 0) -> str:
    return client("run", "--rm", *flags, IMAGE, "sh", "-c", script, code=code).out.strip()


def namespace(kind: str, pid: int | str = "self") -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def test_the_default_profile(docker: Client) -> None:
    status = inside(docker, script="grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status")
    fields = dict(line.split(":\t") for line in status.splitlines())
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == int(fields["CapPrm"], 16) == DEFAULT_CAPABILITIES
    assert int(fields["CapInh"], 16) == int(fields["CapAmb"], 16) == 0
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("0", "2")


def test_namespaces_are_its_own(docker: Client) -> None:
    for kind in ("mnt", "pid", "net", "ipc", "uts"):
        assert inside(docker, script=f"readlink /proc/self/ns/{kind}") != namespace(kind)


@pytest.mark.parametrize(
    ("flag", "kind"),
    [("--network", "net"), ("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--cgroupns", "cgroup")],
)
def test_host_namespaces(docker: Client, flag: str, kind: str) -> None:
    assert inside(docker, flag, "host", script=f"readlink /proc/self/ns/{kind}") == namespace(kind)


def test_cgroup_namespace_of_its_own(docker: Client) -> None:
    script = "readlink /proc/self/ns/cgroup; cat /proc/self/cgroup"
    link, *groups = inside(docker, "--cgroupns", "private", script=script).splitlines()
    assert link != namespace("cgroup")
    assert {line.split(":", 2)[2] for line in groups} == {"/"}


@pytest.mark.parametrize(("flag", "kind"), [("--network", "net"), ("--pid", "pid"), ("--ipc", "ipc")])
def test_namespaces_of_another_container(docker: Client, flag: str, kind: str) -> None:
    docker("run", "-d", "--name", "other", "--ipc", "shareable", IMAGE, "sleep", "100")
    pid = docker.out("inspect", "-f", "{{.State.Pid}}", "other")
    assert inside(docker, flag, "container:other", script=f"readlink /proc/self/ns/{kind}") == namespace(kind, pid)
    docker("stop", "-t", "0", "other")
    refused = docker("run", "--rm", flag, "container:other", IMAGE, "true", code=125)
    assert "non running container" in refused.err or "not running" in refused.err


def test_a_private_ipc_cannot_be_joined(docker: Client) -> None:
    docker("run", "-d", "--name", "closed", "--ipc", "private", IMAGE, "sleep", "100")
    refused = docker("run", "--rm", "--ipc", "container:closed", IMAGE, "true", code=125)
    assert "closed" in refused.err or "IPC" in refused.err


def test_an_ipc_that_is_shared_has_the_same_shm(docker: Client) -> None:
    docker("run", "-d", "--name", "shm", "--ipc", "shareable", IMAGE, "sh", "-c", "echo hi > /dev/shm/x; sleep 100")
    docker("exec", "shm", "sh", "-c", "until test -s /dev/shm/x; do sleep 0.01; done")
    assert inside(docker, "--ipc", "container:shm", script="cat /dev/shm/x") == "hi"


def test_a_shared_pid_namespace_shows_the_others_processes(docker: Client) -> None:
    docker("run", "-d", "--name", "other", IMAGE, "sleep", "4321")
    assert "sleep 4321" in inside(docker, "--pid", "container:other", script="ps")


def test_capabilities(cli: Client) -> None:
    effective = "grep CapEff /proc/self/status | cut -f2"
    assert int(inside(cli, "--cap-drop", "ALL", script=effective), 16) == 0
    assert int(inside(cli, "--cap-drop", "all", "--cap-add", "NET_ADMIN", script=effective), 16) == 1 << 12
    assert int(inside(cli, "--cap-drop", "CHOWN", script=effective), 16) == DEFAULT_CAPABILITIES & ~1
    refused = cli("run", "--rm", "--cap-add", "NONSENSE", IMAGE, "true", code=125)
    assert "NONSENSE" in refused.err


def test_users_have_no_capabilities(docker: Client) -> None:
    assert int(inside(docker, "-u", "1000", script="grep CapEff /proc/self/status | cut -f2"), 16) == 0


def test_privileged(cli: Client) -> None:
    script = "grep -E 'CapEff|Seccomp:' /proc/self/status | cut -f2; mount -t tmpfs x /tmp && ls /dev"
    effective, seccomp, *devices = inside(cli, "--privileged", script=script).splitlines()
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    assert int(effective, 16) == int(own.split()[1], 16)
    assert seccomp == "0"
    assert "kmsg" in devices or len(devices) > 20


def test_no_new_privileges(cli: Client) -> None:
    script = "grep NoNewPrivs /proc/self/status | cut -f2"
    assert inside(cli, "--security-opt", "no-new-privileges", script=script) == "1"
    assert inside(cli, "--security-opt", "no-new-privileges=false", script=script) == "0"


def test_the_filter_refuses_and_can_be_taken_off(cli: Client) -> None:
    """unshare(CLONE_NEWUSER) is refused by Docker's profile without CAP_SYS_ADMIN."""
    assert "not permitted" in cli("run", "--rm", IMAGE, "unshare", "-U", "true", code=1).err
    cli("run", "--rm", "--security-opt", "seccomp=unconfined", IMAGE, "unshare", "-U", "true")


def test_a_profile_from_a_file(cli: Client, tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
    }
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    option = f"seccomp={tmp_path / 'profile.json'}"
    done = cli(
        "run",
        "--rm",
        "--security-opt",
        option,
        IMAGE,
        "sh",
        "-c",
        "mkdir /x 2>&1; unshare -U true && echo free",
        code=0,
    )
    assert "not implemented" in done.out and "free" in done.out
    privileged = inside(cli, "--privileged", "--security-opt", option, script="mkdir /x 2>&1 || true; ls /dev/kmsg")
    assert "not implemented" in privileged and "/dev/kmsg" in privileged  # everything else is its own, as ever
    (tmp_path / "bad.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": 7}')
    refused = cli("run", "--rm", "--security-opt", f"seccomp={tmp_path / 'bad.json'}", IMAGE, "true", code=125)
    assert "seccomp" in refused.err


def test_masks_and_read_only_paths(cli: Client) -> None:
    done = cli("run", "--rm", IMAGE, "sh", "-c", "wc -c < /proc/interrupts; echo 1 > /proc/sys/kernel/panic", code=1)
    assert done.out.split() == ["0"]
    assert "Read-only file system" in done.err
    script = "wc -c < /proc/interrupts; grep -c -E ' /proc/[a-z]+ ' /proc/mounts || true"
    size, mounts = inside(cli, "--security-opt", "systempaths=unconfined", script=script).split()
    assert int(size) > 0 and mounts == "0"


def test_devices(cli: Client) -> None:
    names = set(inside(cli, script="ls /dev").split())
    assert names >= set("null zero full random urandom tty ptmx pts shm mqueue fd stdin stdout stderr".split())
    assert not names & {"kmsg", "loop0", "mem", "console"}
    # the device cgroup: a node can be made (CAP_MKNOD), and not opened
    done = cli("run", "--rm", IMAGE, "sh", "-c", "mknod /x b 7 0 && cat /x", code=1)
    assert "not permitted" in done.err
    assert inside(cli, "--device", "/dev/zero:/dev/nil", script="head -c2 /dev/nil | wc -c") == "2"
    refused = cli("run", "--rm", "--device", "/dev/nosuch", IMAGE, "true", code=127)  # 127 as with dockerd
    assert "/dev/nosuch" in refused.err


def test_device_rights_hold(docker: Client) -> None:
    if not Path("/dev/kmsg").exists():
        pytest.skip("no /dev/kmsg on this machine")
    assert inside(docker, "--device", "/dev/kmsg:/dev/k:w", script="head -c1 /dev/k 2>&1 || true").endswith(
        "not permitted"
    )


def test_sysctls(cli: Client) -> None:
    flags = ["--sysctl", "net.ipv4.ip_forward=0", "--sysctl", "kernel.msgmax=4096"]
    script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start"
    assert inside(cli, *flags, script=script).split() == ["0", "4096", "0"]
    refused = cli("run", "--rm", "--sysctl", "kernel.sysrq=1", IMAGE, "true", code=125)
    assert "kernel.sysrq" in refused.err


def test_ulimits(cli: Client) -> None:
    script = "ulimit -n; ulimit -Hn; ulimit -c"
    assert inside(cli, "--ulimit", "nofile=100:200", "--ulimit", "core=0", script=script).split() == ["100", "200", "0"]


def test_a_low_limit_of_open_files_while_many_are_on_their_way(docker: Client) -> None:
    """Descriptors in sockets count for their user, against the limit of the process that sends one more."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for _ in range(3):
            socket.send_fds(ours, [b"."], [ours.fileno()] * 250)
        assert inside(docker, "--ulimit", "nofile=100:100", script="ulimit -n") == "100"


def test_read_only_tmpfs_and_shm(cli: Client) -> None:
    flags = ["--read-only", "--tmpfs", "/scratch:size=1m,mode=700", "--shm-size", "2m"]
    script = "touch /x; touch /scratch/y && df -k /scratch /dev/shm | awk '{print $2}'; stat -c %a /scratch"
    done = cli("run", "--rm", *flags, IMAGE, "sh", "-c", script)
    assert "Read-only file system" in done.err
    assert done.out.split()[1:] == ["1024", "2048", "700"]


def test_only_the_standard_descriptors_are_open(docker: Client) -> None:
    docker("run", "-d", "--name", "quiet", IMAGE, "sleep", "1000")
    assert docker.out("exec", "quiet", "ls", "/proc/1/fd").split() == ["0", "1", "2"]


def test_mounts_do_not_leak_in(docker: Client) -> None:
    """Nothing of the host's tree is mounted, and the root is private."""
    mounts = inside(docker, script="cat /proc/self/mountinfo").splitlines()
    assert not [line for line in mounts if "/sys/fs/cgroup" not in line and " shared:" in line]
    assert len(mounts) < 60


def test_a_bind_of_the_data_root_hears_of_unmounts(docker: Client, daemon: Cortend) -> None:
    propagation = "{{(index .Mounts 0).Propagation}}"
    for source in (str(daemon.data), "/"):
        id = docker.out("create", "-v", f"{source}:/host", IMAGE, "true")
        assert docker.out("inspect", "-f", propagation, id) == "rslave"
        docker("start", "-a", id)
        done = docker("create", "--mount", f"type=bind,src={source},dst=/host,bind-propagation=private", IMAGE, code=1)
        assert "must use either propagation mode" in done.err
    id = docker.out("create", "-v", "/etc:/host", IMAGE, "true")
    assert docker.out("inspect", "-f", propagation, id) == "rprivate"
