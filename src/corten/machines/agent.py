"""QEMU's agent in a guest that has it (Debian: qemu-guest-agent): programs, addresses, frozen file systems.

What it says is a guest's word: bounded, and taken for text.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from corten.errors import CortenError, Failed, Invalid, Unavailable
from corten.machines.machine import Machine
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask
from corten.units.durations import in_go

_LOOK = 0.1  # seconds
_ANSWER = 30.0
_USE = 10.0  # for all that `take_into_use` asks
_LOOKS = 10
_MOST = 4096  # processors, blocks of memory


class Done(NamedTuple):
    status: int
    out: bytes
    err: bytes


async def run(machine: Machine, words: Sequence[str], env: Sequence[str], stdin: str, seconds: float) -> Done:
    """A program in the guest, to its end. Its output is what the agent keeps, some megabytes. Conflict without an
    agent, Unavailable when it takes longer."""
    if not words or not words[0]:
        raise Invalid("no command specified")
    task = _task(machine)
    begun = await task.ask_agent(
        "guest-exec",
        _ANSWER,
        path=words[0],
        arg=list(words[1:]),
        env=list(env),
        input_data=base64.b64encode(stdin.encode()).decode(),
        capture_output=True,
    )
    pid = _integer(begun, "pid")
    try:
        async with asyncio.timeout(seconds):
            while not (state := _object(await task.ask_agent("guest-exec-status", _ANSWER, pid=pid))).get("exited"):
                await asyncio.sleep(_LOOK)
    except TimeoutError:
        raise Unavailable(f"{words[0]} has not ended within {in_go(seconds)}, and goes on") from None
    signal = state.get("signal")
    status = 128 + signal if isinstance(signal, int) else _integer(state, "exitcode")
    return Done(status & 255, _data(state, "out-data"), _data(state, "err-data"))


@asynccontextmanager
async def frozen(task: MachineTask) -> AsyncIterator[None]:
    """File systems in the guest are written out, and not written to meanwhile. Conflict without an agent, Failed with
    its words; they are never left frozen."""
    try:
        await task.ask_agent("guest-fsfreeze-freeze", _ANSWER)
        yield
    finally:
        await task.ask_agent("guest-fsfreeze-thaw", _ANSWER)


async def take_into_use(machine: Machine, processors: int = 0) -> None:
    """Processors and memory that were plugged in: some kernels (Debian's) leave that to a program of theirs. What the
    guest does not do, or not soon, is left to it. `processors` it is to have: a busy guest sees one seconds later."""
    task = _task(machine)
    with suppress(TimeoutError):
        async with asyncio.timeout(_USE):
            looks = 0
            while await _processors_into_use(task, processors) or looks < _LOOKS:  # and memory comes block by block
                await _memory_into_use(task)
                await asyncio.sleep(_LOOK)
                looks += 1


async def _processors_into_use(task: MachineTask, wanted: int) -> bool:
    """Whether the guest has still to see one."""
    with suppress(CortenError):
        processors = await task.ask_agent("guest-get-vcpus", _ANSWER)
        idle = [
            {"logical-id": _integer(one, "logical-id"), "online": True}
            for one in _entries(processors)
            if one.get("can-offline") and not one.get("online")
        ]
        if idle:
            await task.ask_agent("guest-set-vcpus", _ANSWER, vcpus=idle)
        return len(_entries(processors)) < wanted
    return False


async def _memory_into_use(task: MachineTask) -> None:
    with suppress(CortenError):
        blocks = _entries(await task.ask_agent("guest-get-memory-blocks", _ANSWER))
        idle = [{"phys-index": _integer(one, "phys-index"), "online": True} for one in blocks if not one.get("online")]
        if idle:
            await task.ask_agent("guest-set-memory-blocks", _ANSWER, mem_blks=idle)


def _object(answer: object) -> Json:
    if not isinstance(answer, dict):
        raise Failed("the agent in the machine answers what is no answer")
    return answer


def _entries(answer: object) -> list[Json]:
    if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
        raise Failed("the agent in the machine answers what is no answer")
    return answer[:_MOST]


async def addresses(machine: Machine) -> list[Json]:
    """The interfaces that the guest itself sees, with their addresses."""
    found = await _task(machine).ask_agent("guest-network-get-interfaces", _ANSWER)
    if not isinstance(found, list):
        raise Failed("the agent in the machine answers what is no answer")
    return [
        {
            "Name": str(one.get("name", ""))[:64],
            "MacAddress": str(one.get("hardware-address", ""))[:64],
            "Addresses": [_address(each) for each in _list(one.get("ip-addresses"))[:64]],
        }
        for one in found[:64]
        if isinstance(one, dict)
    ]


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _address(each: object) -> str:
    return str(each.get("ip-address", ""))[:64] if isinstance(each, dict) else ""


def _task(machine: Machine) -> MachineTask:
    assert machine.task is not None
    return machine.task


def _integer(answer: object, key: str) -> int:
    value = _object(answer).get(key)
    if not isinstance(value, int):
        raise Failed("the agent in the machine answers what is no answer")
    return value


def _data(answer: Json, key: str) -> bytes:
    try:
        return base64.b64decode(str(answer.get(key, "")))
    except (binascii.Error, ValueError):
        raise Failed("the agent in the machine answers what is no answer") from None
