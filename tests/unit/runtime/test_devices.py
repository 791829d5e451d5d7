"""Device rules: the definition, the program of version 2 in an interpreter, and version 1's transitions in a model."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.errors import Invalid
from corten.runtime.cgroups import devices, words
from corten.runtime.cgroups.devices import ALL, ANY, MKNOD, READ, WRITE, Rule

KINDS = {"b": 1, "c": 2}

rules = st.builds(
    Rule,
    st.booleans(),
    st.sampled_from("aabccc"),
    st.sampled_from([ANY, 1, 5, 136]),
    st.sampled_from([ANY, 0, 3, 5]),
    st.integers(1, 7),
).map(lambda rule: Rule(rule.allow, "a", ANY, ANY, ALL) if rule.type == "a" else rule)
lists = st.lists(rules, max_size=8)


def run(program: bytes, kind: str, major: int, minor: int, access: int) -> int:
    """The kernel's eBPF, as far as device programs go; code that cannot be reached is refused as the verifier does."""
    code = [struct.unpack_from("=BBhI", program, at) for at in range(0, len(program), 8)]
    reached = _reached(code)
    assert reached == set(range(len(code))), "the verifier refuses unreachable code"
    context = struct.pack("=III", access << 16 | KINDS[kind], major, minor)
    registers = [0] * 11
    at = 0
    while True:
        opcode, both, offset, immediate = code[at]
        at += 1
        to, source = both & 15, both >> 4
        match opcode:
            case 0x61:
                assert source == 1
                registers[to] = struct.unpack_from("=I", context, offset)[0]
            case 0x54:
                registers[to] &= immediate
            case 0x74:
                registers[to] >>= immediate
            case 0xB7:
                registers[to] = immediate
            case 0x56:
                at += offset if registers[to] != immediate else 0
            case 0x46:
                at += offset if registers[to] & immediate else 0
            case 0x05:
                at += offset
            case 0x95:
                return registers[0]
            case _:
                raise AssertionError(hex(opcode))


def _reached(code: list[Any]) -> set[int]:
    todo, seen = [0], set()
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        opcode, _, offset, _ = code[at]
        if opcode == 0x95:
            continue
        if opcode in (0x56, 0x46):
            todo.append(at + 1 + offset)
        todo.append(at + 1 + offset if opcode == 0x05 else at + 1)
    return seen


@settings(max_examples=60)
@given(lists)
def test_program_is_the_definition(given_rules: list[Rule]) -> None:
    program = devices.program(given_rules)
    for kind in "bc":
        for major in (0, 1, 5, 136):
            for minor in (0, 3, 5, 9):
                for access in range(1, 8):
                    want = devices.permits(given_rules, kind, major, minor, access)
                    assert run(program, kind, major, minor, access) == int(want)


DOCKER = devices.parse(
    [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
        {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
    ]
)


@pytest.mark.parametrize(
    ("kind", "major", "minor", "access", "want"),
    [
        ("c", 1, 3, READ | WRITE, True),
        ("c", 1, 5, READ, True),
        ("c", 5, 2, READ | WRITE, True),
        ("c", 136, 17, READ | WRITE, True),
        ("c", 10, 200, ALL, True),
        ("c", 10, 229, READ, False),  # fuse
        ("c", 10, 229, MKNOD, True),
        ("b", 8, 0, MKNOD, True),
        ("b", 8, 0, READ, False),
        ("c", 1, 11, WRITE, False),  # kmsg
        ("c", 1, 1, READ | MKNOD, False),
    ],
)
def test_docker_default(kind: str, major: int, minor: int, access: int, want: bool) -> None:
    everything = DOCKER + devices.ALWAYS
    assert devices.permits(everything, kind, major, minor, access) is want
    assert run(devices.program(everything), kind, major, minor, access) == int(want)


class V1:
    """security/device_cgroup.c, as far as one group goes."""

    def __init__(self, allow: bool) -> None:
        self.allow = allow
        self.exceptions: dict[tuple[str, int, int], int] = {}

    def write(self, file: str, line: str) -> None:
        allow = file == "devices.allow"
        if line == "a":
            self.allow, self.exceptions = allow, {}
            return
        kind, device, letters = line.split()
        major, minor = (ANY if word == "*" else int(word) for word in device.split(":"))
        access = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in letters)
        key = (kind, major, minor)
        if allow != self.allow:
            self.exceptions[key] = self.exceptions.get(key, 0) | access
        else:
            left = self.exceptions.pop(key, 0) & ~access
            if left:
                self.exceptions[key] = left

    def listing(self) -> str:
        if self.allow:
            return "a *:* rwm\n"
        return "".join(devices.render(key, access) + "\n" for key, access in self.exceptions.items())


@settings(max_examples=150)
@given(lists, lists, st.booleans())
def test_transitions_of_version_1(first: list[Rule], second: list[Rule], allow: bool) -> None:
    group = V1(allow)
    for wanted in (first, second, second):
        then = devices.settle(wanted, [])
        for file, lines in devices.transition(devices.read_state(group.listing()), then):
            for line in lines:
                group.write(file, line)
        assert (group.allow, group.exceptions) == (then.allow, then.exceptions)


@settings(max_examples=100)
@given(lists)
def test_settling_is_what_the_kernel_does(wanted: list[Rule]) -> None:
    group = V1(False)
    for rule in wanted:
        line = "a" if rule.type == "a" else devices.render((rule.type, rule.major, rule.minor), rule.access)
        group.write("devices.allow" if rule.allow else "devices.deny", line)
    settled = devices.settle(wanted, [])
    assert (group.allow, group.exceptions) == (settled.allow, settled.exceptions)


def test_nothing_is_refused_in_between() -> None:
    group = V1(False)
    for file, lines in devices.transition(devices.State(False, {}), devices.settle(DOCKER + devices.ALWAYS, [])):
        for line in lines:
            group.write(file, line)
    more = (*DOCKER, Rule(True, "c", 1, 11, READ), *devices.ALWAYS)
    writes = devices.transition(devices.read_state(group.listing()), devices.settle(more, []))
    assert writes == [("devices.allow", ["c 1:11 r"])]


def test_holes_are_reported() -> None:
    warnings: list[str] = []
    devices.settle(
        devices.parse(
            [
                {"allow": False},
                {"allow": True, "type": "c", "major": 1, "access": "rw"},
                {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "r"},
            ]
        ),
        warnings,
    )
    assert warnings == [words.DEVICE_HOLE.format("c 1:11 r")]
    assert devices.settle(DOCKER + devices.ALWAYS, warnings).allow is False
    assert len(warnings) == 1


@pytest.mark.parametrize("rule", [{"allow": True, "type": "x"}, {"allow": True, "type": "c", "access": "rx"}])
def test_rules_that_are_none(rule: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        devices.parse([rule])
