"""OCI's linux.seccomp to the classic BPF program that the kernel runs at every system call of a container.

What a profile means here is what libseccomp and runc make of it:

- rules that say what the default says anyway, and names that an architecture does not have, are left out;
- a rule without arguments decides for all calls of that name, whatever other rules say; the first such counts;
- of rules with arguments the first that matches counts; the conditions of one rule must all hold, but when two of them
  look at the same argument each is a rule of its own;
- on 32-bit architectures only the lower half of an argument is looked at;
- a call that is newer than every call the profile names gets ENOSYS instead of the default (unless the default allows):
  programs fall back on ENOSYS and give up on EPERM;
- another architecture than those in the profile is killed.

Shape of the program: load the architecture, jump to its part; there load the number and run down a binary tree over
ranges of numbers whose answer is the same, about ten instructions deep; at the end of it stands the answer, or the
comparisons of arguments. The kernel (since 5.11) works out by itself which numbers are always allowed and does not run
the program for them; it can follow all instructions that the tree uses.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from corten.errors import Invalid, Unsupported
from corten.kernel.full_disk import writing
from corten.spec import syscalls

Json = dict[str, Any]

KILL_PROCESS, KILL_THREAD = 0x80000000, 0x00000000
TRAP, ERRNO, TRACE, LOG, ALLOW = 0x00030000, 0x00050000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000
_ENOSYS = ERRNO | errno.ENOSYS
_MAX_ERRNO = 4095
_MAX_INSTRUCTIONS = 4096
_VERSION = b"1"  # of this compiler, in the key of cached programs; a change of what it emits needs a new one

_ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_ALLOW": ALLOW,
}
_OPERATORS = frozenset("SCMP_CMP_" + word for word in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))

# i386 has two ways to most socket and System V IPC calls; a rule for a call is one for its number in the old way, too.
_SOCKET_WORDS = """
    socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown setsockopt
    getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg
"""
_SOCKETCALL = {name: number for number, name in enumerate(_SOCKET_WORDS.split(), 1)}
_IPC = {
    "semop": 1,
    "semget": 2,
    "semctl": 3,
    "semtimedop": 4,
    "msgsnd": 11,
    "msgrcv": 12,
    "msgget": 13,
    "msgctl": 14,
    "shmat": 21,
    "shmdt": 22,
    "shmget": 23,
    "shmctl": 24,
}

# Instructions: code, and the field offsets of struct seccomp_data.
_LD, _AND, _JA, _JEQ, _JGT, _JGE, _RET = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16


class Condition(NamedTuple):
    """`operator` is OCI's without its prefix; `second` is what MASKED_EQ compares with, `value` then being the mask."""

    argument: int
    operator: str
    value: int
    second: int


class Rule(NamedTuple):
    conditions: tuple[Condition, ...]
    action: int


Decision = tuple[Rule, ...]  # the last has no conditions
Range = tuple[int, Decision, int]  # first number, what holds from there on, width of arguments
Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


# ---------------------------------------------------------------------------------------------- what a profile means


def action(name: str, errno_ret: int | None) -> int:
    """The kernel's return value. Errno and trace carry a number, EPERM unless given."""
    if name == "SCMP_ACT_NOTIFY":
        raise Unsupported("seccomp action SCMP_ACT_NOTIFY needs an agent, which this runtime does not have")
    if name not in _ACTIONS:
        raise Invalid(f"no such seccomp action: {name!r}")
    value = _ACTIONS[name]
    if value not in (ERRNO, TRACE):
        return value
    number = errno.EPERM if errno_ret is None else errno_ret
    if not 0 <= number <= (_MAX_ERRNO if value == ERRNO else 0xFFFF):
        raise Invalid(f"seccomp errno {number} is out of range")
    return value | number


def _condition(argument: Json) -> Condition:
    index, operator = argument["index"], argument["op"]
    if operator not in _OPERATORS or not 0 <= index <= 5:
        raise Invalid(f"no such seccomp argument: {argument}")
    value, second = argument["value"], argument.get("valueTwo") or 0
    if not (0 <= value < 1 << 64 and 0 <= second < 1 << 64):
        raise Invalid(f"seccomp argument is out of range: {argument}")
    return Condition(index, operator.removeprefix("SCMP_CMP_"), value, second)


def _rules(entry: Json, default: int) -> tuple[Rule, ...]:
    """What one entry of the profile's list says of each of its names."""
    result = action(entry["action"], entry.get("errnoRet"))
    if result == default:
        return ()
    conditions = tuple(_condition(argument) for argument in entry.get("args") or ())
    if len({condition.argument for condition in conditions}) < len(conditions):
        return tuple(Rule((condition,), result) for condition in conditions)
    return (Rule(conditions, result),)


def decisions(seccomp: Json, architecture: str) -> dict[int, Decision]:
    """For every number that a rule speaks of, its rules in the order of trying; the last decides without conditions."""
    default = action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"))
    numbers = syscalls.numbers(architecture)
    multiplexed = architecture == "SCMP_ARCH_X86"
    conditional: dict[int, list[Rule]] = {}
    unconditional: dict[int, Rule] = {}
    for entry in seccomp.get("syscalls") or ():
        for rule in _rules(entry, default):
            for name in entry["names"]:
                number = numbers.get(name)
                if number is not None and rule.conditions:
                    conditional.setdefault(number, []).append(rule)
                elif number is not None:
                    unconditional.setdefault(number, rule)
                if multiplexed and not rule.conditions and (through := _through(name)):
                    conditional.setdefault(numbers[through[0]], []).append(Rule((through[1],), rule.action))
    last = Rule((), default)
    return {
        number: (unconditional[number],) if number in unconditional else (*conditional[number], last)
        for number in conditional.keys() | unconditional.keys()
    }


def _through(name: str) -> tuple[str, Condition] | None:
    """The old call by which i386 programs may do `name`, and its first argument then."""
    if name in _SOCKETCALL:
        return "socketcall", Condition(0, "EQ", _SOCKETCALL[name], 0)
    if name in _IPC:
        return "ipc", Condition(0, "EQ", _IPC[name], 0)
    return None


def newest(seccomp: Json, architecture: str) -> int | None:
    """The highest number that the profile names, in whatever rule; beyond it a call is unknown to its author.

    None when the default lets calls through, or is ENOSYS itself, or nothing is named: then there is no such limit.
    """
    default = action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"))
    if default in (ALLOW, LOG, _ENOSYS) or default & 0xFFFF0000 == TRACE:
        return None
    numbers = syscalls.numbers(architecture)
    named = [numbers[name] for entry in seccomp.get("syscalls") or () for name in entry["names"] if name in numbers]
    return max(named, default=None)


def architectures(seccomp: Json) -> tuple[syscalls.Architecture, ...]:
    """The profile's, and always this machine's own. One that Corten has no table for cannot run here anyway."""
    names = dict.fromkeys((syscalls.native(), *(seccomp.get("architectures") or ())))
    for name in names:
        if not name.startswith("SCMP_ARCH_"):
            raise Invalid(f"no such architecture: {name!r}")
    return tuple(syscalls.ARCHITECTURES[name] for name in names if name in syscalls.ARCHITECTURES)


# ------------------------------------------------------------------------------------------------------- the program


def compile(seccomp: Json) -> bytes:
    """struct sock_filter[] in host order, for `corten.kernel.seccomp.load`. Invalid for a profile that is none."""
    try:
        by_audit: dict[int, list[syscalls.Architecture]] = {}
        for architecture in architectures(seccomp):
            by_audit.setdefault(architecture.audit, []).append(architecture)
        parts = [(audit, _part(seccomp, group)) for audit, group in by_audit.items()]
    except (KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"seccomp profile is incomplete or of the wrong shape: {error!r}") from error
    code: list[Instruction] = [(_LD, 0, 0, _ARCHITECTURE)]
    for audit, part in parts:
        code += [(_JEQ, 1, 0, audit), (_JA, 0, 0, len(part)), *part]
    code.append((_RET, 0, 0, KILL_THREAD))
    if len(code) > _MAX_INSTRUCTIONS:
        raise Invalid(f"seccomp profile is too long: {len(code)} instructions of {_MAX_INSTRUCTIONS}")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _part(seccomp: Json, group: Sequence[syscalls.Architecture]) -> list[Instruction]:
    """Everything for one value of the architecture field: x86-64 and x32 have the same."""
    ranges: list[Range] = []
    shared = group[0].audit == syscalls.ARCHITECTURES["SCMP_ARCH_X32"].audit
    for start, limit in ((0, syscalls.X32_BIT), (syscalls.X32_BIT, 1 << 32)) if shared else ((0, 1 << 32),):
        mine = next((a for a in group if a.mark == start), None)
        if mine is not None:
            ranges += _ranges(seccomp, mine, start, limit)
        else:
            ranges.append((start, (Rule((), KILL_THREAD),), 64))  # x32 where the profile does not want it
    return [(_LD, 0, 0, _NUMBER), *_tree(_merged(ranges))]


def _ranges(seccomp: Json, architecture: syscalls.Architecture, start: int, limit: int) -> list[Range]:
    """(first number, decision, argument width), over all numbers from `start` to `limit`."""
    default: Decision = (Rule((), action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"))),)
    last = newest(seccomp, architecture.name)
    known = decisions(seccomp, architecture.name)
    found = [(start, default, architecture.bits)]
    for number in sorted(known):
        found += [(number, known[number], architecture.bits), (number + 1, default, architecture.bits)]
    if last is not None and last + 1 < limit:
        found.append((last + 1, (Rule((), _ENOSYS),), architecture.bits))
    return found


def _merged(ranges: list[Range]) -> list[Range]:
    """Of ranges that start at the same number the later one counts; neighbours with the same decision become one."""
    found: list[Range] = []
    for entry in ranges:
        if found and found[-1][0] == entry[0]:
            found.pop()
        if not found or found[-1][1] != entry[1] or (found[-1][2] != entry[2] and len(entry[1]) > 1):
            found.append(entry)
    return found


def _tree(ranges: list[Range]) -> list[Instruction]:
    """Binary search: below the middle's first number go on, else jump behind the left half."""
    if len(ranges) == 1:
        return _leaf(ranges[0][1], ranges[0][2])
    middle = len(ranges) // 2
    left, right = _tree(ranges[:middle]), _tree(ranges[middle:])
    pivot = ranges[middle][0]
    if len(left) <= 255:
        return [(_JGE, len(left), 0, pivot), *left, *right]
    return [(_JGE, 0, 1, pivot), (_JA, 0, 0, len(left)), *left, *right]


def _leaf(decision: Decision, bits: int) -> list[Instruction]:
    code: list[Instruction] = []
    for rule in decision:
        tests = [_test(condition, bits) for condition in rule.conditions]
        length = sum(map(len, tests)) + 1
        at = 0
        for test in tests:
            code += _resolve(test, at, length)
            at += len(test)
        code.append((_RET, 0, 0, rule.action))
    return code


_PASS, _FAIL = -1, -2  # jump targets of a test: behind it, and behind its whole rule
Test = list[tuple[int, int, int, int]]


def _resolve(test: Test, at: int, length: int) -> list[Instruction]:
    """Put numbers in for _PASS and _FAIL; the test starts at `at` in a rule of `length` instructions."""
    found = []
    for index, (code, yes, no, operand) in enumerate(test):
        here = at + index + 1
        targets = {_PASS: at + len(test) - here, _FAIL: length - here}
        found.append((code, targets.get(yes, yes), targets.get(no, no), operand))
    return found


def _test(condition: Condition, bits: int) -> Test:
    """Compare one argument, the upper half first where there is one."""
    index, operator, value, second = condition
    low, high = _ARGUMENTS + 8 * index, _ARGUMENTS + 8 * index + 4  # both architectures are little-endian
    v_low, v_high, s_low, s_high = (part & 0xFFFFFFFF for part in (value, value >> 32, second, second >> 32))
    wide = bits == 64
    yes, no = (_FAIL, _PASS) if operator in ("NE", "LT", "LE") else (_PASS, _FAIL)  # the tests below are EQ, GE, GT
    if operator == "MASKED_EQ":
        upper: Test = [(_LD, 0, 0, high), (_AND, 0, 0, v_high), (_JEQ, 0, _FAIL, s_high)]
        lower: Test = [(_LD, 0, 0, low), (_AND, 0, 0, v_low), (_JEQ, _PASS, _FAIL, s_low)]
    elif operator in ("EQ", "NE"):
        upper = [(_LD, 0, 0, high), (_JEQ, 0, no, v_high)]
        lower = [(_LD, 0, 0, low), (_JEQ, yes, no, v_low)]
    else:
        compare = _JGE if operator in ("GE", "LT") else _JGT
        upper = [(_LD, 0, 0, high), (_JGT, yes, 0, v_high), (_JEQ, 0, no, v_high)]
        lower = [(_LD, 0, 0, low), (compare, yes, no, v_low)]
    return upper + lower if wide else lower


_FLAGS = {
    "SECCOMP_FILTER_FLAG_LOG": "log",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": "spec_allow",
    "SECCOMP_FILTER_FLAG_TSYNC": "",  # a process about to execute a program has one thread
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": "",  # about an agent's answers, and there is no agent
}


def flags(seccomp: Json) -> dict[str, bool]:
    """The profile's flags as keyword arguments for `corten.kernel.seccomp.load`. Invalid for one that is none."""
    found = {}
    for name in seccomp.get("flags") or ():
        if name not in _FLAGS:
            raise Invalid(f"no such seccomp flag: {name!r}")
        if _FLAGS[name]:
            found[_FLAGS[name]] = True
    return found


# ----------------------------------------------------------------------------------------------------------- caching


def cached(seccomp_json: bytes, directory: Path) -> bytes:
    """`compile` of a JSON text, kept in `directory` by its hash; a container's start then costs one small read.

    A file there that is cut short is made anew. The directory is made when it is missing; it has to belong to the
    engine alone, since what writes there decides what containers may do.
    """
    key = hashlib.sha256(_VERSION + syscalls.native().encode() + seccomp_json).hexdigest()
    path = directory / f"{key}.bpf"
    try:
        content = path.read_bytes()
        if len(content) > 40 and content[:32] == hashlib.sha256(content[32:]).digest():
            return content[32:]
    except FileNotFoundError:
        pass
    return _store(path, _compile_json(seccomp_json))


def _compile_json(text: bytes) -> bytes:
    import json  # not needed where the program is cached, which is nearly always

    try:
        profile = json.loads(text)
    except ValueError as error:
        raise Invalid(f"seccomp profile is no JSON: {error}") from error
    if not isinstance(profile, dict):
        raise Invalid("seccomp profile is no JSON object")
    return compile(profile)


def _store(path: Path, program: bytes) -> bytes:
    """No fsync: the content carries its own hash, and a lost file costs one compilation."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    with writing(temporary):
        temporary.write_bytes(hashlib.sha256(program).digest() + program)
    temporary.rename(path)
    return program
