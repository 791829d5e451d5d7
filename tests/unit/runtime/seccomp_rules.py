"""OCI's linux.seccomp decided call by call, straight from the text of the rules: what the compiler is held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from corten.spec import syscalls

ENOSYS = 0x50000 | 38
KILL = 0
_VALUES = {
    "KILL": 0,
    "KILL_THREAD": 0,
    "KILL_PROCESS": 0x80000000,
    "TRAP": 0x30000,
    "ERRNO": 0x50000,
    "TRACE": 0x7FF00000,
    "LOG": 0x7FFC0000,
    "ALLOW": 0x7FFF0000,
}


def value(action: str, errno_ret: int | None) -> int:
    word = action.removeprefix("SCMP_ACT_")
    number = (1 if errno_ret is None else errno_ret) if word in ("ERRNO", "TRACE") else 0
    return _VALUES[word] | number


def holds(argument: dict[str, Any], arguments: Sequence[int], bits: int) -> bool:
    mask = (1 << bits) - 1
    actual: int = arguments[argument["index"]] & mask
    wanted: int = argument["value"] & mask
    second: int = argument.get("valueTwo", 0) & mask
    match argument["op"].removeprefix("SCMP_CMP_"):
        case "EQ":
            return actual == wanted
        case "NE":
            return actual != wanted
        case "GT":
            return actual > wanted
        case "GE":
            return actual >= wanted
        case "LT":
            return actual < wanted
        case "LE":
            return actual <= wanted
        case "MASKED_EQ":
            return actual & wanted == second
    raise AssertionError(argument)


def decide(profile: dict[str, Any], name: str, number: int, arguments: Sequence[int]) -> int:
    """`name` is the architecture; `number` without its mark."""
    bits = syscalls.ARCHITECTURES[name].bits
    mark = syscalls.ARCHITECTURES[name].mark
    names = {n: v - mark for n, v in syscalls.numbers(name).items()}
    default = value(profile["defaultAction"], profile.get("defaultErrnoRet"))
    entries = profile.get("syscalls", [])
    mine = [e for e in entries if any(names.get(n) == number for n in e["names"])]
    effective = [e for e in mine if value(e["action"], e.get("errnoRet")) != default]
    for entry in effective:
        if not entry.get("args"):
            return value(entry["action"], entry.get("errnoRet"))
    for entry in effective:
        arguments_of = entry["args"]
        several = len({a["index"] for a in arguments_of}) < len(arguments_of)
        if (any if several else all)(holds(a, arguments, bits) for a in arguments_of):
            return value(entry["action"], entry.get("errnoRet"))
    named = [names[n] for e in entries for n in e["names"] if n in names]
    lets_through = default in (_VALUES["ALLOW"], _VALUES["LOG"], ENOSYS) or default & 0xFFFF0000 == _VALUES["TRACE"]
    if named and not lets_through and number > max(named):
        return ENOSYS
    return default
