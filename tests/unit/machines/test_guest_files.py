"""QEMU's agent as a guest may answer: files in pieces, frozen file systems, and nonsense."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from corten.cli import jobs as shown_jobs
from corten.errors import Conflict, Failed, Invalid
from corten.machines import agent, guest_files, jobs
from corten.machines.machine import Machine
from corten.tasks.machine_tasks import MachineTask

Answer = Callable[[dict[str, Any]], Any]


class Guest:
    """A machine whose agent has one file, and QEMU with the `monitor`'s answers."""

    name = "guest"

    def __init__(self, content: bytes = b"", answers: dict[str, Any] | None = None) -> None:
        self.content, self.at, self.closed, self.said = content, 0, 0, list[str]()
        self.answers = answers or {}
        self.task = self
        self.machine = cast(Machine, self)

    async def ask_agent(self, command: str, seconds: float = 0, **given: Any) -> Any:
        self.said.append(command)
        if command in self.answers:
            answer = self.answers[command]
            if isinstance(answer, Exception):
                raise answer
            return answer(given) if callable(answer) else answer
        match command:
            case "guest-file-open":
                if given["mode"] == "w":
                    self.content = b""
                return 7
            case "guest-file-read":
                piece = self.content[self.at : self.at + given["count"]]
                self.at += len(piece)
                return {"buf-b64": base64.b64encode(piece).decode(), "eof": self.at == len(self.content)}
            case "guest-file-write":
                piece = base64.b64decode(given["buf_b64"])[:100_000]  # not all that it is given at once
                self.content += piece
                return {"count": len(piece)}
            case "guest-file-close":
                self.closed += 1
                return {}
            case "guest-exec":
                self.words = [given["path"], *given["arg"]]
                return {"pid": 1}
            case "guest-exec-status":
                return {"exited": True, "exitcode": 0}
        return {}

    async def ask(self, command: str) -> Any:
        return self.answers[command]


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def done(work: Awaitable[Any]) -> Any:
    async def run() -> Any:
        return await work

    return asyncio.run(run())


async def _read(guest: Guest) -> bytes:
    handle = await guest_files.opened(guest.machine, "/etc/x", "r")
    return b"".join([piece async for piece in guest_files.read(guest.machine, handle)])


@pytest.mark.parametrize("size", [0, 1, 256 << 10, 700_000])
def test_a_file_comes_and_goes_in_pieces(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    guest = Guest(content[:size])
    assert done(_read(guest)) == content[:size] and guest.closed == 1
    there = Guest()
    written = guest_files.write(
        there.machine, "/root/x", _pieces(content[: size // 3], content[size // 3 : size]), 0o4640
    )
    assert done(written) == size and there.content == content[:size] and there.closed == 1
    assert there.words == ["chmod", "4640", "/root/x"]


@pytest.mark.parametrize(
    "answer",
    [
        7, {}, {"buf-b64": "*"}, {"buf-b64": base64.b64encode(bytes((256 << 10) + 1)).decode()},
    ],
    ids=["number", "nothing", "no base64", "too much"],
)  # fmt: skip
def test_a_piece_that_is_none(answer: object) -> None:
    guest = Guest(b"x", {"guest-file-read": answer})
    with pytest.raises(Failed, match="what is no answer"):
        done(_read(guest))
    assert guest.closed == 1


@pytest.mark.parametrize("count", [0, -1, 99, "1", None])
def test_a_count_that_is_none(count: object) -> None:
    guest = Guest(b"", {"guest-file-write": {"count": count}})
    with pytest.raises(Failed, match="what is no answer"):
        done(guest_files.write(guest.machine, "/x", _pieces(b"abc"), 0o644))
    assert guest.closed == 1


def test_one_that_takes_a_byte_at_a_time() -> None:
    """What it is given would be made anew for each: 256 KiB for every 20 bytes that it says."""
    guest = Guest(b"", {"guest-file-write": {"count": 1}})
    with pytest.raises(Failed, match="a few bytes at a time"):
        done(guest_files.write(guest.machine, "/x", _pieces(bytes(10_000)), 0o644))
    assert guest.said.count("guest-file-write") < 100 and guest.closed == 1


@pytest.mark.parametrize("path", ["", "relative", "/with\0zero"])
def test_a_path_that_is_none(path: str) -> None:
    with pytest.raises(Invalid, match="is no absolute path"):
        done(guest_files.opened(Guest().machine, path, "r"))


@pytest.mark.parametrize("failing", [False, True])
def test_file_systems_thaw_whatever_happens(failing: bool) -> None:
    guest = Guest()

    async def work() -> None:
        async with agent.frozen(cast(MachineTask, guest)):
            guest.said.append("work")
            if failing:
                raise Conflict("no")

    if failing:
        with pytest.raises(Conflict):
            done(work())
    else:
        done(work())
    assert guest.said == ["guest-fsfreeze-freeze", "work", "guest-fsfreeze-thaw"]


def test_a_freeze_that_fails_is_undone_and_said() -> None:
    guest = Guest(b"", {"guest-fsfreeze-freeze": Failed("no such command")})

    async def work() -> None:
        async with agent.frozen(cast(MachineTask, guest)):
            guest.said.append("work")

    with pytest.raises(Failed, match="no such command"):
        done(work())
    assert guest.said == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]


def test_how_far_it_is() -> None:
    job = {"id": "migrate0", "type": "mirror", "status": "running", "current-progress": 30, "total-progress": 120}
    moved = {"status": "active", "ram": {"total": 1000, "remaining": 250}}
    guest = Guest(b"", {"query-jobs": [job], "query-migrate": moved})
    found = done(jobs.current(guest.machine))
    assert shown_jobs.text(found) == "mirror 25%, memory 75%"
    idle = Guest(b"", {"query-jobs": [{**job, "total-progress": 0}], "query-migrate": {"status": "completed"}})
    assert shown_jobs.text(done(jobs.current(idle.machine))) == ""
