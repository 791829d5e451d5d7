"""From the making of an instance to its end: streams, statuses, signals, limits."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

from corten.errors import Conflict, NotFound, StartFailed, Unsupported
from corten.instance.contract import (
    Changes,
    Execution,
)
from corten.runtime.null import OF_CONTAINER
from corten.supervisor.virtual import Virtual
from guests import ProcessMachine
from instance_parts.world import PATIENCE, World, case, ended, killed, refused, shown


@case
def output_and_status(world: World) -> None:
    instance, created = world.created("sh", "-c", "echo a word; exit 3")
    assert shown(world, instance, created.pid) and created.console == -1
    assert os.path.exists(world.run / "supervisor.sock") and created.listener.fileno() >= 0
    instance.start()
    assert ended(instance, created) == 3
    assert world.read() == b"a word\n"
    instance.delete()


@case
def statuses(world: World) -> None:
    """Of the program, exactly; a further process has the same ones."""
    instance, created = world.started("sh", "-c", "read line; exit 255", stdin=True)
    for status in (0, 1, 2, 125, 126, 127, 128, 254, 255):
        process, output = world.entered(instance, "sh", "-c", f"exit {status}")
        world.wait(process.ended)
        assert process.reap() == status
        os.close(output)
    process, output = world.entered(instance, "sh", "-c", "kill -TERM $$")
    world.wait(process.ended)
    assert process.reap() == 143
    os.close(output)
    os.write(world.input, b"\n")
    assert ended(instance, created) == 255
    instance.delete()


@case
def a_program_that_cannot_be_executed(world: World) -> None:
    instance = world.instance("/etc/passwd")
    try:
        instance.create((OF_CONTAINER,) * 3, (0, 0))
        instance.start()
    except StartFailed as error:
        assert error.exit_code == 126, error.exit_code
    else:
        raise AssertionError("it runs")
    instance.delete()


@case
def input_and_its_end(world: World) -> None:
    instance, created = world.started("sh", "-c", "cat; echo the end", stdin=True)
    os.write(world.input, b"some words\n")
    assert world.some(world.pipe) == b"some words\n"
    os.close(world.input)
    assert world.read() == b"the end\n"
    assert ended(instance, created) == 0
    instance.delete()


@case
def more_input_than_anything_holds(world: World) -> None:
    """It waits for its reader, and all of it comes."""
    instance, created = world.started("sh", "-c", "sleep 0.1; busybox wc -c", stdin=True)
    left = 3 << 20
    os.set_blocking(world.input, False)
    poll = select.poll()
    poll.register(world.input, select.POLLOUT)
    if instance.events >= 0:
        poll.register(instance.events, select.POLLIN)
    while left:
        assert poll.poll(PATIENCE)
        instance.advance()
        with suppress(BlockingIOError):
            left -= os.write(world.input, bytes(min(left, 65536)))
    os.close(world.input)
    assert world.read().split() == [b"%d" % (3 << 20)]
    assert ended(instance, created) == 0
    instance.delete()


@case
def output_and_errors_apart(world: World) -> None:
    instance = world.instance("sh", "-c", "echo out; echo err >&2")
    (out, out_writer), (err, err_writer) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    created = instance.create((OF_CONTAINER, out_writer, err_writer), (0, 0))
    os.close(out_writer)
    os.close(err_writer)
    instance.start()
    assert ended(instance, created) == 0
    assert (os.read(out, 100), os.read(err, 100)) == (b"out\n", b"err\n")
    instance.delete()


@case
def output_that_is_not_read_stops_its_program_alone(world: World) -> None:
    """And then all of it comes, to the last byte that was written before the end."""
    size = 4 << 20 if world.machine else 100 << 20
    instance, created = world.started("sh", "-c", f"busybox head -c {size} /dev/zero; echo $?")
    assert world.output_of(instance, "sh", "-c", "echo other") == "other\n"
    assert instance.counters()["pids"]["current"] >= 1
    got = last = b""
    total = 0
    while got := world.some(world.pipe, 1 << 20):
        total, last = total + len(got), got
    assert total == size + 2 and last.endswith(b"0\n")
    assert ended(instance, created) == 0
    instance.delete()


@case
def what_is_left_over_ends_with_it(world: World) -> None:
    """A process in the background has the output open, and is gone when the first one is."""
    instance, created = world.started("sh", "-c", "sleep 1000 & exit 3")
    assert ended(instance, created) == 3
    assert world.read() == b""
    instance.delete()


@case
def no_such_program(world: World) -> None:
    instance = world.instance("nosuch")
    try:
        instance.create((OF_CONTAINER,) * 3, (0, 0))  # runc looks for it here, others in `start`
        instance.start()
    except StartFailed as error:
        assert error.exit_code == 127, error.exit_code
    else:
        raise AssertionError("it runs")
    instance.delete()


@case
def deleted_before_its_start(world: World) -> None:
    instance, created = world.created("sleep", "1000")
    instance.delete()
    assert not os.path.exists(f"/proc/{created.pid}")
    instance.delete()  # idempotent


@case
def signals(world: World) -> None:
    instance, created = world.started("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    assert world.some(world.pipe) == b"ready\n"
    instance.signal(signal.SIGTERM, False)
    assert ended(instance, created) == 5
    instance.delete()


@case
def signals_to_all(world: World) -> None:
    instance, created = world.started("sh", "-c", "sleep 1000 & trap '' TERM; echo ready; wait; exit 5")
    assert world.some(world.pipe) == b"ready\n"
    assert world.guest or len(instance.processes()) == 2
    instance.signal(signal.SIGTERM, True)  # of which the first process takes no notice
    assert ended(instance, created) == 5
    instance.delete()


@case
def paused(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    instance.pause()
    instance.pause()
    instance.resume()
    instance.resume()
    killed(instance, created)


@case
def limits_and_counters(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    instance.update({"pids": {"limit": 33}})
    counters = instance.counters()
    assert counters["pids"]["limit"] == 33 and {"cpu", "memory", "blkio"} <= counters.keys()
    killed(instance, created)


@case
def out_of_memory(world: World) -> None:
    instance, created = world.created("sh", "-c", "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done")
    instance.update({"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    assert created.oom >= 0
    instance.start()
    world.wait(created.ended)
    world.wait(created.oom)  # v1 writes to it before the kernel kills, so not asked before the end
    assert instance.out_of_memory()
    assert instance.ending()[:2] == (137, True)
    instance.delete()


@case
def what_a_container_lacks(world: World) -> None:
    """In the host's network no interface is made or taken away, and a tree without layers has no changes to show."""
    if world.guest:
        refused(partial(world.created, "sleep", "1000", host=True), Unsupported, "network namespace of the host")
        world.made.delete()
        return
    instance, created = world.started("sleep", "1000", host=True)
    for verb in (partial(instance.attach, "eth0", 0), partial(instance.detach, "eth0")):
        refused(verb, Unsupported, "host's network")
    refused(partial(instance.work, Changes(), 0, 1), Unsupported, "snapshot")
    killed(instance, created)


@case
def an_end_that_is_not_reported_yet(world: World) -> None:
    """That of a guest's program is seen in the guest first, as long as the last of its output is on its way."""
    size = 200_000  # which fit into the pipes on both sides, and not all of them into this one
    instance, created = world.started("busybox", "head", "-c", f"{size}", "/dev/zero")
    if world.guest:
        with suppress(Conflict):
            while True:
                instance.signal(0, False)
        for verb in (instance.counters, partial(instance.update, {}), instance.pause):
            refused(verb, Conflict, "not running")
    assert len(world.read()) == size
    assert ended(instance, created) == 0
    instance.delete()


@case
def an_end_that_is_not_noticed_yet(world: World) -> None:
    """By the agent of a guest: it is asked for a further process before it looks at the end of the first."""
    if not world.guest or world.machine:
        return
    instance, created = world.started("sleep", "1000")
    assert isinstance(instance, Virtual) and isinstance(instance._machine, ProcessMachine)
    agent = instance._machine
    agent.pause()
    process = instance.enter(Execution("e1", {"args": ["true"], "cwd": "/"}, False, False, (0, 0)), (OF_CONTAINER,) * 3)
    for child in Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split():
        first = os.pidfd_open(int(child))
        signal.pidfd_send_signal(first, signal.SIGKILL)
        assert select.select([first], [], [], PATIENCE / 1000)[0]
        os.close(first)
    agent.resume()
    world.wait(process.ready)
    refused(process.started, Conflict, "the container is not running")
    assert ended(instance, created) == 137
    instance.delete()


@case
def gone(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    killed(instance, created)
    try:
        instance.enter(Execution("e1", {"args": ["true"], "cwd": "/"}, False, False, (0, 0)), (OF_CONTAINER,) * 3)
    except (NotFound, StartFailed):
        return
    raise AssertionError("entered")
