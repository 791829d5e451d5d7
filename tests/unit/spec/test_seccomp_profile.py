"""Docker's default profile and the resolution of profiles for a container."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from corten.errors import Invalid
from corten.spec import seccomp, seccomp_default, syscalls

# Of moby/profiles' seccomp/default.json at cd3bed80 (June 2026), names sorted, comments left out, canonical JSON.
DOCKERS = "363decafaf48b795756bc5d7bd5ec971e9054659bfb97f5aff4afd224fb16cf2"


def test_default_is_dockers() -> None:
    profile = seccomp_default.profile()
    for entry in profile["syscalls"]:
        entry["names"].sort()
    text = json.dumps(profile, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == DOCKERS


def names(oci: dict[str, Any], *, conditional: bool = False) -> set[str]:
    return {name for entry in oci["syscalls"] if conditional == bool(entry.get("args")) for name in entry["names"]}


def test_default_without_privileges() -> None:
    oci = seccomp.default({"CAP_SYS_CHROOT"}, "x86_64", "6.18.44-fc-v669")
    assert oci["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert oci["defaultErrnoRet"] == 1
    assert {"ptrace", "chroot", "arch_prctl", "modify_ldt", "memfd_secret"} <= names(oci)
    assert not {"mount", "unshare", "bpf", "keyctl", "io_uring_setup", "userfaultfd", "set_tls"} & names(oci)
    assert names(oci, conditional=True) == {"socket", "personality", "clone"}
    assert {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38} in oci["syscalls"]


def test_default_with_sys_admin() -> None:
    oci = seccomp.default({"CAP_SYS_ADMIN"}, "x86_64", "6.18")
    assert {"mount", "unshare", "clone", "clone3", "setns"} <= names(oci)
    assert "clone" not in names(oci, conditional=True)
    assert all(entry["action"] == "SCMP_ACT_ALLOW" for entry in oci["syscalls"])
    assert "chroot" not in names(oci)


def test_default_on_arm_and_old_kernels() -> None:
    oci = seccomp.default(set(), "aarch64", "4.7.10-rc1")
    assert oci["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert "set_tls" in names(oci)
    assert not {"arch_prctl", "ptrace"} & names(oci)
    assert "ptrace" in names(seccomp.default(set(), "aarch64", "4.8.0"))


def test_profile_of_a_file() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {"name": "chmod", "action": "SCMP_ACT_ERRNO", "args": []},
            {"names": ["chown"], "action": "SCMP_ACT_ERRNO", "includes": {"arches": ["arm64"]}, "args": None},
            {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "excludes": {"minKernel": "5.0"}},
            {"names": ["link"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_A", "CAP_B"]}},
            {"names": ["dup"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_A", "CAP_X"]}},
        ],
    }
    assert seccomp.resolve(profile, {"CAP_A"}, "x86_64", "6.1") == {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}],
    }
    assert seccomp.resolve({}, set(), "x86_64", "6.1") is None


@pytest.mark.parametrize(
    "profile",
    [
        [],
        {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["A"], "archMap": [{"architecture": "B"}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ERRNO"}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "a", "names": ["b"], "action": "SCMP_ACT_ERRNO"}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {"names": []}},
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["b"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "new"}}],
        },
    ],
)
def test_profiles_that_are_none(profile: Any) -> None:
    with pytest.raises(Invalid):
        seccomp.resolve(profile, set(), "x86_64", "6.1")


HEADERS = {
    "SCMP_ARCH_X86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "SCMP_ARCH_X86": Path("/usr/include/x86_64-linux-gnu/asm/unistd_32.h"),
    "SCMP_ARCH_X32": Path("/usr/include/x86_64-linux-gnu/asm/unistd_x32.h"),
}


@pytest.mark.parametrize("architecture", HEADERS)
def test_numbers_are_the_kernels(architecture: str) -> None:
    header = HEADERS[architecture]
    if not header.exists():
        pytest.skip(f"{header} is missing (Debian package linux-libc-dev)")
    ours = syscalls.numbers(architecture)
    mark = syscalls.ARCHITECTURES[architecture].mark
    compared = 0
    for line in header.read_text().splitlines():
        words = line.replace("(__X32_SYSCALL_BIT + ", "").replace(")", "").split()
        if len(words) == 3 and words[1].startswith("__NR_") and words[2].isdigit():
            assert ours[words[1].removeprefix("__NR_")] == int(words[2]) | mark
            compared += 1
    assert compared > 340


@pytest.mark.parametrize("architecture", syscalls.ARCHITECTURES)
def test_numbers_reach_to_this_year(architecture: str) -> None:
    numbers = syscalls.numbers(architecture)
    mark = syscalls.ARCHITECTURES[architecture].mark
    assert numbers["cachestat"] == 451 | mark
    assert numbers["file_setattr"] == 469 | mark
    assert numbers["listns"] == 470 | mark
    assert len(set(numbers.values())) == len(numbers)
