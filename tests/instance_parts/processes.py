"""Further processes of an instance, and terminals."""

from __future__ import annotations

import os
import signal

from corten.errors import StartFailed
from corten.instance.contract import (
    Execution,
)
from corten.runtime.null import OF_CONTAINER
from instance_parts.world import World, case, ended, killed, shown


@case
def further_processes(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    process, output = world.entered(instance, "sh", "-c", "id -u; exit 7", user="bob")
    world.wait(process.ended)
    assert process.reap() == 7
    assert world.some(output) == b"1000\n"
    killed(instance, created)


@case
def a_further_process_is_killed_alone(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    process, _ = world.entered(instance, "sleep", "1000")
    assert shown(world, instance, process.pid)
    process.signal(signal.SIGKILL)
    world.wait(process.ended)
    process.signal(signal.SIGKILL)  # it has ended: nothing happens
    assert process.reap() == 137
    process.signal(signal.SIGKILL)
    assert shown(world, instance, created.pid)
    killed(instance, created)


@case
def a_further_process_that_cannot_start(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    execution = Execution("e1", {"args": ["nosuch"], "env": ["PATH=/bin"], "cwd": "/"}, False, False, (0, 0))
    try:
        process = instance.enter(execution, (OF_CONTAINER,) * 3)
        world.wait(process.ready)
        process.started()
    except StartFailed as error:
        assert error.exit_code == 127, error.exit_code
    else:
        raise AssertionError("it runs")
    assert world.guest or instance.processes() == [created.pid]
    killed(instance, created)


@case
def a_terminal(world: World) -> None:
    instance = world.instance("sh", "-c", "stty size; read line; stty size", terminal=True)
    created = instance.create(None, (24, 80))
    instance.resize(created.console, (31, 97))
    instance.start()
    seen = b""
    while b"31 97" not in seen:
        seen += world.some(created.console)
    instance.resize(created.console, (32, 98))
    os.write(created.console, b"\n")
    while b"32 98" not in seen:
        seen += world.some(created.console)
    assert ended(instance, created) == 0
    instance.delete()


@case
def a_terminal_of_a_further_process(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    process_ = {"args": ["sh", "-c", "read line; stty size"], "env": ["PATH=/bin"], "cwd": "/", "terminal": True}
    process = instance.enter(Execution("e1", process_, True, True, (0, 0)), None)
    console = None
    while console is None:
        world.wait(process.ready)
        console = process.started()
    assert console >= 0
    instance.resize(console, (31, 97))
    os.write(console, b"\n")
    seen = b""
    while b"31 97" not in seen:
        seen += world.some(console)
    world.wait(process.ended)
    assert process.reap() == 0
    killed(instance, created)
