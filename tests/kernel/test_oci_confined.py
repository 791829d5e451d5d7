"""What confines a container's program, in the order in which it comes about."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from corten.kernel import apparmor
from elf import EXIT_GROUP, PAUSE, write_program
from oci_bundle import Runtime

ONLY_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the programs are for x86_64")
ANSWER = 7


def kill_all_but(*names: str) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [{"names": list(names), "action": "SCMP_ACT_ALLOW"}]}


def run(runtime: Runtime) -> tuple[int, str]:
    done = runtime("run", "-b", str(runtime.bundle), "box")
    return done.returncode, done.stdout


@ONLY_X86
@pytest.mark.parametrize("nothing_new", [True, False])
@pytest.mark.parametrize("uid", [0, 1000])
def test_below_the_filter_nothing_is_called_but_execve(runtime: Runtime, nothing_new: bool, uid: int) -> None:
    for name, number in (("answer", EXIT_GROUP), ("wait", PAUSE)):
        write_program(runtime.bundle / "rootfs/bin" / name, number, ANSWER)
    runtime.configure("answer")
    filtered = {"seccomp": kill_all_but("execve", "exit_group", "pause")}
    runtime.change(process={"noNewPrivileges": nothing_new, "user": {"uid": uid, "gid": uid}}, linux=filtered)
    assert run(runtime) == (ANSWER, "")
    runtime.change(process={"args": ["wait"]})
    assert runtime("run", "-d", "-b", str(runtime.bundle), "box").returncode == 0
    assert runtime("exec", "box", "answer").returncode == ANSWER


@ONLY_X86
@pytest.mark.parametrize(
    ("names", "number", "words"),
    [(["execve"], 1, "operation not permitted"), (["execve"], 2, "no such file or directory"), ([], 0, "")],
)
def test_a_profile_that_forbids_execve_is_named(runtime: Runtime, names: list[str], number: int, words: str) -> None:
    write_program(runtime.bundle / "rootfs/bin/answer", EXIT_GROUP, ANSWER)
    runtime.configure("answer")
    refused = [{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": number}] if names else []
    runtime.change(linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": refused}})
    status, said = run(runtime)
    assert status == (1 if names else ANSWER)
    assert ("the seccomp profile does not allow execve" in said and words in said) is bool(names)


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("has", [["CAP_CHOWN"], ["CAP_CHOWN", "CAP_SYS_ADMIN"]])
def test_the_filter_s_privilege_ends_with_it(runtime: Runtime, uid: int, has: list[str]) -> None:
    runtime.configure("busybox", "grep", "-E", "^(Cap|Seccomp:)", "/proc/self/status")
    sets = dict.fromkeys(("bounding", "effective", "permitted"), has)
    process = {"noNewPrivileges": False, "capabilities": sets, "user": {"uid": uid, "gid": uid}}
    runtime.change(process=process, linux={"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}})
    status, said = run(runtime)
    found = dict(line.split(":\t") for line in said.splitlines())
    held = sum(1 << {"CAP_CHOWN": 0, "CAP_SYS_ADMIN": 21}[name] for name in has)
    assert status == 0 and found.pop("Seccomp") == "2"
    assert {name: int(bits, 16) for name, bits in found.items()} == {
        "CapInh": 0, "CapPrm": held * (not uid), "CapEff": held * (not uid), "CapBnd": held, "CapAmb": 0,
    }  # fmt: skip


@pytest.mark.parametrize("mapped", [False, True])
def test_a_low_limit_of_files_does_not_fail_the_start(runtime: Runtime, mapped: bool) -> None:
    """The limit is the program's: what mounts its file systems has more of them open."""
    few = 10
    runtime.configure("sh", "-c", "ulimit -n; ulimit -Hn; busybox grep -c ' /m/' /proc/self/mounts")
    path = runtime.bundle / "config.json"
    spec = json.loads(path.read_text())
    (runtime.root / "source").mkdir()
    spec["mounts"] += [
        {"destination": f"/m/{number}", "type": kind, "source": source, "options": options}
        for number, (kind, source, options) in enumerate(
            [("tmpfs", "tmpfs", []), ("bind", str(runtime.root / "source"), ["bind"])] * few
        )
    ]
    if mapped:
        for directory in (runtime.root, *runtime.root.parents):
            if directory.name.startswith("pytest-"):
                directory.chmod(0o755)
        os.chown(runtime.bundle / "rootfs", 100000, 100000)
        spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] != "/sys/fs/cgroup"]
        spec["linux"]["namespaces"].append({"type": "user"})
        ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        spec["linux"] |= {"uidMappings": ids, "gidMappings": ids}
    spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": few + 1, "soft": few}]
    path.write_text(json.dumps(spec))
    assert run(runtime) == (0, f"{few}\n{few + 1}\n{2 * few}\n")


def test_a_low_limit_of_files_does_not_fail_an_exec(runtime: Runtime) -> None:
    runtime.configure("sleep", "1000")
    runtime.change(process={"rlimits": [{"type": "RLIMIT_NOFILE", "hard": 5, "soft": 4}]})
    assert runtime("run", "-d", "-b", str(runtime.bundle), "box").returncode == 0
    assert runtime("exec", "-u", "1000", "box", "sh", "-c", "ulimit -n; ulimit -Hn").stdout == "4\n5\n"


def test_an_unknown_limit_is_refused_by_name(runtime: Runtime) -> None:
    runtime.configure("echo", "ran")
    runtime.change(process={"rlimits": [{"type": "RLIMIT_NOPE", "hard": 5, "soft": 4}]})
    assert run(runtime) == (1, "corten-oci: run failed: limits: unknown rlimit 'RLIMIT_NOPE'\n")


@pytest.mark.skipif(apparmor.enabled(), reason="this machine has AppArmor")
def test_a_profile_is_refused_where_there_is_no_apparmor(runtime: Runtime) -> None:
    runtime.configure("sleep", "1000")
    runtime.change(process={"apparmorProfile": "mine"})
    status, said = run(runtime)
    assert status == 1 and "AppArmor profile 'mine' cannot be applied: this machine has no AppArmor" in said
    runtime.change(process={"apparmorProfile": "unconfined"})
    assert runtime("run", "-d", "-b", str(runtime.bundle), "box").returncode == 0
    done = runtime("exec", "--apparmor", "mine", "box", "echo", "ran")
    assert done.returncode == 1 and "AppArmor profile 'mine' cannot" in done.stdout


def test_labels_of_selinux_are_refused(runtime: Runtime) -> None:
    runtime.configure("sleep", "1000")
    for section, key in (("process", "selinuxLabel"), ("linux", "mountLabel")):
        runtime.change(**{section: {key: "system_u:object_r:x:s0"}})
        status, said = run(runtime)
        assert status == 1 and f"{section}.{key} 'system_u:object_r:x:s0': SELinux is not supported" in said
        runtime.change(**{section: {key: ""}})
    assert runtime("run", "-d", "-b", str(runtime.bundle), "box").returncode == 0
    done = runtime("exec", "--process-label", "a:b:c:s0", "box", "echo", "ran")
    assert done.returncode == 1 and "SELinux is not supported" in done.stdout


def test_the_profile_is_written_for_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enabled, place = tmp_path / "enabled", tmp_path / "exec"
    enabled.write_text("Y\n")
    place.touch()
    monkeypatch.setattr(apparmor, "_ENABLED", str(enabled))
    monkeypatch.setattr(apparmor, "_PLACES", (str(tmp_path / "absent"), str(place)))
    apparmor.confine_next_program("docker-default")
    assert place.read_text() == "exec docker-default"
    enabled.write_text("N\n")
    with pytest.raises(OSError, match="no AppArmor"):
        apparmor.confine_next_program("docker-default")
