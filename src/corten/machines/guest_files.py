"""Files in a machine, by QEMU's agent there: one at a time, in pieces, as the agent's user (root).

    async for piece in read(machine, "/etc/hostname"): ...
    await write(machine, "/root/notes", pieces, mode=0o600)

What a guest answers is bounded: a piece is never larger than it was asked for.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import suppress

from corten.errors import Conflict, CortenError, Failed, Invalid
from corten.machines import agent
from corten.machines.machine import Machine
from corten.tasks.machine_tasks import MachineTask

_PIECE = 256 << 10  # bytes, which are a third more in an answer (`vm.qmp.MAX_LINE`)
_PARTS = 64  # answers about one piece: what is left is encoded again for each
_ANSWER = 60.0  # seconds


async def opened(machine: Machine, path: str, mode: str) -> int:
    """The agent's number of an open file. Invalid, Conflict without an agent, Failed with the agent's words."""
    if not path.startswith("/") or "\0" in path:
        raise Invalid(f"{path} is no absolute path in the machine")
    handle = await _task(machine).ask_agent("guest-file-open", _ANSWER, path=path, mode=mode)
    if not isinstance(handle, int):
        raise Failed("the agent in the machine answers what is no answer")
    return handle


async def read(machine: Machine, handle: int) -> AsyncIterator[bytes]:
    """All of it; closes it."""
    task = _task(machine)
    try:
        while True:
            answer = await task.ask_agent("guest-file-read", _ANSWER, handle=handle, count=_PIECE)
            piece = _content(answer)
            if piece:
                yield piece
            if not piece or answer.get("eof"):
                return
    finally:
        await close(task, handle)


async def close(task: MachineTask, handle: int) -> None:
    with suppress(CortenError):
        await task.ask_agent("guest-file-close", _ANSWER, handle=handle)


async def write(machine: Machine, path: str, pieces: AsyncIterator[bytes], mode: int) -> int:
    """Bytes of the file, which is new or replaced. `mode`: its permissions,
    where the guest has chmod(1)."""
    task, handle, size = _task(machine), await opened(machine, path, "w"), 0
    try:
        async for piece in pieces:
            for at in range(0, len(piece), _PIECE):
                size += await _put(task, handle, piece[at : at + _PIECE])
    finally:
        await task.ask_agent("guest-file-close", _ANSWER, handle=handle)
    done = await agent.run(machine, ["chmod", f"{mode & 0o7777:o}", path], (), "", _ANSWER)
    if done.status:
        raise Conflict(
            f"{path} is there, and its permissions are not: {done.err.decode(errors='replace').strip()[:200]}"
        )
    return size


async def _put(task: MachineTask, handle: int, data: bytes) -> int:
    left = data
    for _ in range(_PARTS):
        text = base64.b64encode(left).decode()
        answer = await task.ask_agent("guest-file-write", _ANSWER, handle=handle, buf_b64=text)
        count = answer.get("count") if isinstance(answer, dict) else None
        if not isinstance(count, int) or not 0 < count <= len(left):
            raise Failed("the agent in the machine answers what is no answer")
        left = left[count:]
        if not left:
            return len(data)
    raise Failed("the agent in the machine takes a few bytes at a time")


def _content(answer: object) -> bytes:
    try:
        assert isinstance(answer, dict)
        piece = base64.b64decode(str(answer["buf-b64"]), validate=True)
        assert len(piece) <= _PIECE
    except (AssertionError, KeyError, binascii.Error, ValueError):
        raise Failed("the agent in the machine answers what is no answer") from None
    return piece


def _task(machine: Machine) -> MachineTask:
    if machine.task is None:
        raise Conflict(f"machine {machine.name} is not running")
    return machine.task
