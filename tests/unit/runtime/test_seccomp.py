"""The compiled program answers every call as the rules' text does, in a kernel's interpreter rewritten in Python."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.errors import Invalid, Unsupported
from corten.runtime import seccomp
from corten.spec import seccomp as profiles
from corten.spec import syscalls
from unit.runtime import classic_bpf, seccomp_rules

X86 = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
ARM = ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
DOCKER = frozenset(
    f"CAP_{name}"
    for name in (
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    )
)
SAMPLES = sorted(
    {
        base + delta & 0xFFFFFFFFFFFFFFFF
        for base in (
            0,
            8,
            38,
            40,
            0x20000,
            0x20008,
            0x7E020000,
            0x10000000,
            0xFFFFFFFF,
            1 << 32,
            (1 << 32) + 38,
            1 << 63,
        )
        for delta in (-1, 0, 1)
    }
)


def answer(code: classic_bpf.Code, architecture: str, number: int, arguments: tuple[int, ...]) -> int:
    known = syscalls.ARCHITECTURES[architecture]
    return classic_bpf.run(code, number + known.mark, known.audit, arguments)[0]


@pytest.mark.parametrize(
    ("machine", "architectures", "more"),
    [
        ("x86_64", X86, ()),
        ("x86_64", X86, ("CAP_SYS_ADMIN",)),
        ("aarch64", ARM, ()),
        ("aarch64", ARM, ("CAP_SYS_ADMIN", "CAP_BPF")),
    ],
)
def test_default_profile_on_every_number(
    machine: str, architectures: list[str], more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syscalls, "native", lambda: architectures[0])
    profile = profiles.default(DOCKER | set(more), machine, "6.18.0")
    code = classic_bpf.decode(seccomp.compile(profile))
    assert len(code) < 4096
    compared = 0
    for architecture in architectures:
        for number in range(601):
            samples = SAMPLES if any(len(d) > 1 for d in [decision(profile, architecture, number)]) else (0, 1 << 40)
            for first in samples:
                arguments = (first, 0, 0, 0, 0, 0)
                want = seccomp_rules.decide(profile, architecture, number, arguments)
                assert answer(code, architecture, number, arguments) == want, (architecture, number, first)
                compared += 1
    assert compared > 1200


def decision(profile: dict[str, Any], architecture: str, number: int) -> seccomp.Decision:
    mark = syscalls.ARCHITECTURES[architecture].mark
    return seccomp.decisions(profile, architecture).get(number + mark, ())


def test_a_call_costs_about_ten_instructions() -> None:
    profile = profiles.default(DOCKER, "x86_64", "6.18.0")
    code = classic_bpf.decode(seccomp.compile(profile))
    costs = [classic_bpf.run(code, number, 0xC000003E, (0,) * 6)[1] for number in range(470)]
    assert max(costs) <= 24  # with arguments to look at
    assert sum(costs) / len(costs) < 13


@pytest.mark.parametrize("audit", [0, 0xC00000B7, 0x4000003E])
def test_foreign_architecture_is_killed(audit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "native", lambda: "SCMP_ARCH_X86_64")
    code = classic_bpf.decode(seccomp.compile({"defaultAction": "SCMP_ACT_ALLOW"}))
    assert classic_bpf.run(code, 0, 0xC000003E)[0] == seccomp.ALLOW
    assert classic_bpf.run(code, 0, audit)[0] == seccomp.KILL_THREAD
    assert classic_bpf.run(code, syscalls.X32_BIT, 0xC000003E)[0] == seccomp.KILL_THREAD


names = st.sampled_from(
    [
        "read",
        "socket",
        "clone",
        "personality",
        "ioctl",
        "keyctl",
        "semop",
        "cachestat",
        "no_such_call",
        "bind",
        "arch_prctl",
    ]
)
actions = st.sampled_from(["KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "LOG", "ALLOW"])
words = st.sampled_from([0, 1, 38, 0xFFFFFFFF, 1 << 32, (1 << 32) | 38, (1 << 64) - 1, 0x7E020000])
arguments = st.fixed_dictionaries(
    {
        "index": st.integers(0, 2),
        "value": words,
        "valueTwo": words,
        "op": st.sampled_from(["SCMP_CMP_" + w for w in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")]),
    }
)
entries = st.fixed_dictionaries(
    {
        "names": st.lists(names, min_size=1, max_size=3),
        "action": actions.map(lambda word: f"SCMP_ACT_{word}"),
        "errnoRet": st.sampled_from([None, 0, 1, 38, 4095]),
        "args": st.lists(arguments, max_size=3),
    }
)
any_profile = st.fixed_dictionaries(
    {
        "defaultAction": actions.map(lambda word: f"SCMP_ACT_{word}"),
        "defaultErrnoRet": st.sampled_from([None, 38, 7]),
        "syscalls": st.lists(entries, max_size=6),
    }
)


@settings(max_examples=80)
@given(profile=any_profile, values=st.lists(words, min_size=3, max_size=3))
def test_any_profile(profile: dict[str, Any], values: list[int]) -> None:
    profile["architectures"] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]
    code = classic_bpf.decode(seccomp.compile(profile))
    numbers = {n for entry in profile["syscalls"] for name in entry["names"] if (n := _number(name)) is not None}
    for architecture in profile["architectures"]:
        for number in {0, 1, 500, *numbers, *(n + 1 for n in numbers)}:
            given_values = (*values, 0, 0, 0)
            want = seccomp_rules.decide(profile, architecture, number, given_values)
            assert answer(code, architecture, number, given_values) == want


def _number(name: str) -> int | None:
    return syscalls.numbers("SCMP_ARCH_X86_64").get(name)


def test_old_ways_of_i386_follow_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "native", lambda: "SCMP_ARCH_X86_64")
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": X86,
        "syscalls": [{"names": ["socket", "semget"], "action": "SCMP_ACT_ALLOW"}],
    }
    code = classic_bpf.decode(seccomp.compile(profile))
    assert answer(code, "SCMP_ARCH_X86", 102, (1, 0)) == seccomp.ALLOW  # socketcall(SYS_SOCKET)
    assert answer(code, "SCMP_ARCH_X86", 102, (2, 0)) == seccomp.ERRNO | 1  # socketcall(SYS_BIND)
    assert answer(code, "SCMP_ARCH_X86", 117, (2, 0)) == seccomp.ALLOW  # ipc(SEMGET)
    assert answer(code, "SCMP_ARCH_X86_64", 102, (1, 0)) == seccomp.ERRNO | 38  # getuid there, newer than semget


@pytest.mark.parametrize(
    ("profile", "error"),
    [
        ({"defaultAction": "SCMP_ACT_NO"}, Invalid),
        ({}, Invalid),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, Unsupported),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x86"]}, Invalid),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}, Invalid),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ERRNO"}]}, Invalid),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": 7}, Invalid),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {
                        "names": ["read"],
                        "action": "SCMP_ACT_ERRNO",
                        "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}],
                    }
                ],
            },
            Invalid,
        ),
    ],
)
def test_profiles_that_are_none(profile: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        seccomp.compile(profile)


def test_flags() -> None:
    assert seccomp.flags({}) == {}
    given_flags = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
    assert seccomp.flags({"flags": given_flags}) == {"log": True, "spec_allow": True}
    with pytest.raises(Invalid):
        seccomp.flags({"flags": ["SECCOMP_FILTER_FLAG_FAST"]})


def test_cached(tmp_path: Path) -> None:
    text = json.dumps(profiles.default(DOCKER, os.uname().machine, os.uname().release)).encode()
    program = seccomp.compile(json.loads(text))
    directory = tmp_path / "seccomp"
    assert seccomp.cached(text, directory) == program
    (file,) = directory.iterdir()
    assert seccomp.cached(text, directory) == program
    file.write_bytes(file.read_bytes()[:-8])  # a crash cut it short
    assert seccomp.cached(text, directory) == program
    assert seccomp.cached(text, directory) == program
    assert [entry.name for entry in directory.iterdir()] == [file.name]
    with pytest.raises(Invalid):
        seccomp.cached(b"[]", directory)
    with pytest.raises(Invalid):
        seccomp.cached(b"{", directory)


def test_compiling_is_quick() -> None:
    profile = profiles.default(DOCKER, os.uname().machine, os.uname().release)
    seccomp.compile(profile)
    took = []
    for _ in range(5):
        start = time.thread_time()
        seccomp.compile(profile)
        took.append(time.thread_time() - start)
    assert min(took) < 0.025


# --------------------------------------------------------------------------------------------- libseccomp's opinion


def _libseccomp() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        pytest.skip("libseccomp2 is not installed")
    library.seccomp_init.restype = ctypes.c_void_p
    return library


class _Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def _by_libseccomp(profile: dict[str, Any]) -> classic_bpf.Code:
    """The program that libseccomp makes of a profile, used as runc uses it (without runc's ENOSYS part)."""
    library = _libseccomp()
    default = seccomp_rules.value(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    for token in (0x40000003, 0x4000003E):  # x86, x32
        assert library.seccomp_arch_add(context, ctypes.c_uint32(token)) == 0
    order = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]
    for entry in profile["syscalls"]:
        value = seccomp_rules.value(entry["action"], entry.get("errnoRet"))
        if value == default:
            continue
        for name in entry["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                continue
            compares = [
                _Compare(
                    a["index"], order.index(a["op"].removeprefix("SCMP_CMP_")) + 1, a["value"], a.get("valueTwo", 0)
                )
                for a in entry.get("args") or ()
            ]
            array = (_Compare * len(compares))(*compares)
            result = library.seccomp_rule_add_array(context, ctypes.c_uint32(value), number, len(compares), array)
            assert result == 0, (name, result)
    fd = os.memfd_create("bpf")
    try:
        assert library.seccomp_export_bpf(context, fd) == 0
        return classic_bpf.decode(os.pread(fd, 1 << 20, 0))
    finally:
        os.close(fd)
        library.seccomp_release(context)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="libseccomp numbers calls for the machine it runs on")
@pytest.mark.parametrize("more", [(), ("CAP_SYS_ADMIN",), ("CAP_SYS_PTRACE", "CAP_SYS_TIME")])
def test_libseccomp_agrees(more: tuple[str, ...]) -> None:
    library = _libseccomp()
    profile = profiles.default(DOCKER | set(more), "x86_64", "6.18.0")
    theirs = _by_libseccomp(profile)
    ours = classic_bpf.decode(seccomp.compile(profile))
    compared = 0
    for architecture, token in zip(X86, (0xC000003E, 0x40000003, 0x4000003E)):
        mark = syscalls.ARCHITECTURES[architecture].mark
        known = {
            number
            for name, number in syscalls.numbers(architecture).items()
            if library.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(token), name.encode()) == number
        }
        assert len(known) > 340
        for number, first in itertools.product(sorted(known), (0, 1, 8, 38, 39, 40, 41, 0x10000000, 0xFFFFFFFF)):
            want = classic_bpf.run(theirs, number, syscalls.ARCHITECTURES[architecture].audit, (first,))[0]
            assert answer(ours, architecture, number - mark, (first,)) == want, (architecture, number, first)
            compared += 1
    assert compared > 9000
