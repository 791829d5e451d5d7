"""Which devices a container may open: OCI's rules to devices.allow/deny (v1) or to a program of the kernel (v2).

The rules are a list in which, for each kind of access to a device, the last rule that speaks of it decides. What every
container gets beside its own rules (`ALWAYS`) is what runc gives, so that a configuration written for runc means the
same here: nodes may be *made* freely, and a dozen harmless ones opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from corten.errors import Invalid
from corten.kernel import bpf
from corten.runtime.cgroups import words

Json = dict[str, Any]

MKNOD, READ, WRITE = 1, 2, 4  # the kernel's BPF_DEVCG_ACC_*
ALL = MKNOD | READ | WRITE
_BITS = {"m": MKNOD, "r": READ, "w": WRITE}
ANY = -1


class Rule(NamedTuple):
    """`type` is "a" (everything), "b" or "c"; `major` and `minor` may be ANY; `access` a mask."""

    allow: bool
    type: str
    major: int
    minor: int
    access: int

    def covers(self, type: str, major: int, minor: int) -> bool:
        if self.type == "a":
            return True
        return self.type == type and self.major in (ANY, major) and self.minor in (ANY, minor)


ALWAYS: tuple[Rule, ...] = (
    Rule(True, "c", ANY, ANY, MKNOD),
    Rule(True, "b", ANY, ANY, MKNOD),
    *(Rule(True, "c", major, minor, ALL) for major, minor in ((1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (5, 1))),
    Rule(True, "c", 136, ANY, ALL),  # pseudo-terminals
    Rule(True, "c", 5, 2, ALL),  # ptmx
    Rule(True, "c", 10, 200, ALL),  # tun
)


def parse(rules: Iterable[Json]) -> tuple[Rule, ...]:
    """OCI's linux.resources.devices. Invalid for a type or access that does not exist."""
    return tuple(_rule(rule) for rule in rules)


def _rule(rule: Json) -> Rule:
    kind = rule.get("type") or "a"
    access = rule.get("access") or "rwm"
    if kind not in ("a", "b", "c", "u") or not set(access) <= set(_BITS):
        raise Invalid(f"no such device rule: {rule}")
    if kind == "a":
        return Rule(bool(rule["allow"]), "a", ANY, ANY, ALL)
    numbers = [ANY if rule.get(key) is None else int(rule[key]) for key in ("major", "minor")]
    kind = "c" if kind == "u" else kind  # an unbuffered character device is one
    return Rule(bool(rule["allow"]), kind, numbers[0], numbers[1], sum(_BITS[letter] for letter in set(access)))


def permits(rules: Sequence[Rule], type: str, major: int, minor: int, access: int) -> bool:
    """Whether `rules` grant all of `access`: the definition, which the v2 program is tested against."""
    for rule in reversed(rules):
        if rule.covers(type, major, minor):
            if not rule.allow and rule.access & access:
                return False
            access &= ~rule.access
        if not access:
            return True
    return False


# ------------------------------------------------------------------------------------------------------------- v1

Exceptions = dict[tuple[str, int, int], int]


class State(NamedTuple):
    """What a v1 group keeps: a default for everything, and devices for which the opposite holds."""

    allow: bool
    exceptions: Exceptions


def settle(rules: Iterable[Rule], warnings: list[str]) -> State:
    """What the kernel's state is after `rules` were written one after the other."""
    allow, exceptions = False, Exceptions()
    for rule in rules:
        key = (rule.type, rule.major, rule.minor)
        if rule.type == "a":
            allow, exceptions = rule.allow, {}
        elif rule.allow != allow:
            exceptions[key] = exceptions.get(key, 0) | rule.access
        else:
            left = exceptions.pop(key, 0) & ~rule.access
            if left:
                exceptions[key] = left
            if any(access & rule.access and _wider(other, key) for other, access in exceptions.items()):
                warnings.append(words.DEVICE_HOLE.format(render(key, rule.access)))
    return State(allow, exceptions)


def _wider(one: tuple[str, int, int], other: tuple[str, int, int]) -> bool:
    """Whether a rule on `one` also speaks of `other`, without being the same."""
    return one != other and one[0] == other[0] and one[1] in (ANY, other[1]) and one[2] in (ANY, other[2])


def read_state(listing: str) -> State:
    """devices.list. It shows "a *:* rwm" for allow-by-default, and then keeps silent about the exceptions."""
    exceptions = Exceptions()
    for line in listing.splitlines():
        kind, device, access = line.split()
        if kind == "a":
            return State(True, {})
        major, minor = (ANY if word == "*" else int(word) for word in device.split(":"))
        exceptions[kind, major, minor] = sum(_BITS[letter] for letter in access)
    return State(False, exceptions)


def render(key: tuple[str, int, int], access: int) -> str:
    """A rule as devices.allow wants it, "c 1:3 rwm"."""
    kind, *numbers = key
    device = ":".join("*" if number == ANY else str(number) for number in numbers)
    return f"{kind} {device} " + "".join(letter for letter, bit in (("r", 2), ("w", 4), ("m", 1)) if access & bit)


def transition(now: State, then: State) -> list[tuple[str, list[str]]]:
    """(file, lines) to write, in order. What stays allowed is at no moment refused, unless the default changes."""
    if now.allow or then.allow != now.allow:
        now = State(then.allow, {})
        first = [("devices.allow" if then.allow else "devices.deny", ["a"])]
    else:
        first = []
    add = _beyond(then.exceptions, now.exceptions)
    take = _beyond(now.exceptions, then.exceptions)
    into, back = ("devices.deny", "devices.allow") if then.allow else ("devices.allow", "devices.deny")
    return first + [(file, lines) for file, lines in ((into, add), (back, take)) if lines]


def _beyond(more: Exceptions, less: Exceptions) -> list[str]:
    """The lines for what `more` has and `less` has not."""
    left = {key: access & ~less.get(key, 0) for key, access in more.items()}
    return [render(key, access) for key, access in left.items() if access]


# ------------------------------------------------------------------------------------------------------------- v2


def program(rules: Sequence[Rule]) -> bytes:
    """The BPF_PROG_TYPE_CGROUP_DEVICE program that decides as `permits` does.

    Registers: r2 type (1 block, 2 character), r3 the access that no rule has decided yet, r4 major, r5 minor. The rules
    run from the last to the first, and each takes out of r3 what it decides; r0 is 1 when nothing is left.
    """
    code = bpf.Program()
    code.load32(2, 1, 0)
    code.and32(2, 0xFFFF)
    code.load32(3, 1, 0)
    code.rsh32(3, 16)
    code.load32(4, 1, 4)
    code.load32(5, 1, 8)
    for rule in reversed(rules):
        _one(code, rule)
        if rule.type == "a":
            break  # nothing before it can matter, and the kernel refuses code that is never reached
    else:
        code.exit(0)
    return code.assemble()


def _one(code: bpf.Program, rule: Rule) -> None:
    if rule.type == "a":
        code.exit(int(rule.allow))
        return
    after = code.label()
    code.jump_unless_equal32(2, 1 if rule.type == "b" else 2, after)
    if rule.major != ANY:
        code.jump_unless_equal32(4, rule.major, after)
    if rule.minor != ANY:
        code.jump_unless_equal32(5, rule.minor, after)
    if rule.allow:
        code.and32(3, ~rule.access & 0xFFFF)
        code.jump_unless_equal32(3, 0, after)
        code.exit(1)
    else:
        code.jump_if_no_bits32(3, rule.access, after)
        code.exit(0)
    code.place(after)
