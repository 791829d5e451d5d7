"""What an agent in a guest may say: any JSON. Each answer is taken for what it can be, or is one error."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corten.errors import CortenError
from corten.machines import agent
from corten.machines.machine import Machine

NO_ANSWERS: list[Any] = [
    5, None, [], {}, "\ud800", [[1]], [5], [{}], [{"can-offline": True}], [{"phys-index": "x"}], [{"logical-id": [1]}],
    [{"name": "\ud800", "ip-addresses": 5}], [{"name": {}, "ip-addresses": {"a": 1}}], [{"ip-addresses": [5, None]}],
    {"pid": 1}, {"pid": "1", "exited": True}, {"pid": 1, "exited": True}, {"pid": 1, "exited": True, "exitcode": "x"},
    {"pid": 1, "exited": True, "exitcode": 0, "out-data": 5}, {"pid": 1, "exited": True, "signal": 1.5},
]  # fmt: skip


def machine(answer: Any) -> Machine:
    async def ask_agent(command: str, seconds: float, **arguments: Any) -> Any:
        if answer is Ellipsis:
            await asyncio.Event().wait()
        return answer

    return cast(Machine, SimpleNamespace(task=SimpleNamespace(ask_agent=ask_agent)))


@pytest.mark.parametrize("answer", NO_ANSWERS, ids=repr)
async def test_answers_that_are_none(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "_LOOK", 0)
    asked = machine(answer)
    await agent.take_into_use(asked)
    for ask in (lambda: agent.addresses(asked), lambda: agent.run(asked, ["x"], (), "", 0.01)):
        try:
            found = await ask()
        except CortenError:
            continue
        assert isinstance(found, (list, agent.Done))


async def test_an_agent_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of a machine does not wait for it."""
    monkeypatch.setattr(agent, "_USE", 0.01)
    await agent.take_into_use(machine(...))


async def test_a_processor_that_the_guest_sees_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken into use when it is there, and the memory that was plugged in beside it."""
    monkeypatch.setattr(agent, "_LOOK", 0)
    processors = [{"logical-id": 0, "online": True, "can-offline": False}]
    blocks = [{"phys-index": 0, "online": True}]
    asked = []

    async def ask_agent(command: str, seconds: float, **arguments: Any) -> Any:
        asked.append(command)
        if command == "guest-get-vcpus":
            if asked.count(command) == 30:
                processors.append({"logical-id": 1, "online": False, "can-offline": True})
            return [dict(one) for one in processors]
        if command == "guest-set-vcpus":
            processors[arguments["vcpus"][0]["logical-id"]]["online"] = True
        if command == "guest-get-memory-blocks":
            if asked.count(command) == 5:
                blocks.append({"phys-index": 1, "online": False})
            return [dict(one) for one in blocks]
        if command == "guest-set-memory-blocks":
            blocks[arguments["mem_blks"][0]["phys-index"]]["online"] = True
        return None

    late = cast(Machine, SimpleNamespace(task=SimpleNamespace(ask_agent=ask_agent)))
    await agent.take_into_use(late, 2)
    assert all(one["online"] for one in (*processors, *blocks)) and len(processors) == len(blocks) == 2
