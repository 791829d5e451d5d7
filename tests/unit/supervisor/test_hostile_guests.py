"""A guest whose agent was replaced: whatever it says or does not say ends itself, with one clear error."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corten.errors import Conflict, Corrupt, CortenError, Exhausted, Failed, NotFound, Unavailable
from corten.instance.contract import Created, Ending, Execution, Fetch, Look
from corten.oci.template import template
from corten.runtime.null import OF_CONTAINER
from corten.supervisor import guest_requests, virtual
from corten.supervisor.guest_process import GuestProcess
from corten.supervisor.requests import decode_create
from corten.supervisor.virtual import Virtual
from corten.tasks import outgoing
from corten.vm import answers, frames
from corten.vm.frames import STDOUT, WINDOW
from guests import Json, ProcessHost, ProcessMachine, Puppet

PATIENCE = 20.0  # seconds
NOTHING = (OF_CONTAINER,) * 3
Script = Callable[[Puppet], object]


class World:
    def __init__(self, directory: Path) -> None:
        (directory / "config.json").write_text(json.dumps(template()))
        self._directory = directory
        self._made: list[Virtual] = []
        self.at_end: list[Callable[[], None]] = []
        self._fds = {*os.listdir("/proc/self/fd")}
        self._children = _children()  # other tests' daemons

    def instance(self, script: Script, words: str = "") -> Virtual:
        request = decode_create({"id": "c1", "run": str(self._directory / "run"), "bundle": str(self._directory)})

        def be(port: socket.socket) -> None:
            puppet = Puppet(port)
            script(puppet)
            puppet.request("never")  # until the machine is killed

        made = Virtual(request, -1, ProcessHost(lambda: ProcessMachine(be, words=words)))
        self._made.append(made)
        return made

    def started(self, script: Script, words: str = "") -> tuple[Virtual, Created]:
        """`script` begins with the request that starts the program."""

        def from_the_start(puppet: Puppet) -> None:
            puppet.answer(puppet.request("start"))
            script(puppet)

        instance = self.instance(from_the_start, words)
        created = instance.create(NOTHING, (0, 0))
        created.listener.close()
        instance.start()
        return instance, created

    def close(self) -> None:
        for discard in self.at_end:
            discard()
        for instance in self._made:
            instance.delete()
        assert {*os.listdir("/proc/self/fd")} <= self._fds
        assert _children() <= self._children


def _children() -> set[str]:
    """Of this process, those that have ended and were not reaped among them."""
    found = set[str]()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found.update((task / "children").read_text().split())
    return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def wait(instance: Virtual, fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(instance.events, select.POLLIN)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if fd in [found for found, _ in poll.poll(1000)]:
            return
        instance.advance()
    raise AssertionError("nothing happened")


def ended(instance: Virtual, created: Created) -> Ending:
    wait(instance, created.ended)
    return instance.ending()


def test_an_obedient_one(world: World) -> None:
    """That the puppet is an agent at all."""
    instance, created = world.started(lambda puppet: puppet.exits(5))
    assert ended(instance, created) == Ending(5, False, "")


@pytest.mark.parametrize("last", ["", "Kernel panic - not syncing: word"])
def test_an_end_without_a_word_about_the_program(world: World, last: str) -> None:
    instance, created = world.started(lambda puppet: os._exit(0), last)
    status, out_of_memory, error = ended(instance, created)
    assert (status, out_of_memory) == (137, False) and (last or "the machine ended") in error


def sends(data: bytes) -> Script:
    return lambda puppet: puppet.raw(data)


def says(*messages: Json) -> Script:
    return sends(b"".join(map(frames.message, messages)))


STATUS = {"name": "x", "size": 1, "mode": 0o644, "mtime": 1, "linkTarget": ""}
EXIT = {"event": "exit", "stream": 0, "status": 0, "out_of_memory": False}
BROKEN: dict[str, tuple[Script, str]] = {
    "noise": (sends(os.urandom(16) + b"\xff" * 64), "broke the protocol"),
    "a huge length": (sends(b"\2\0\0\0\0\xff\xff\xff\xff"), "is announced"),
    "no JSON": (sends(frames.frame(0, 0, b"hello")), "no JSON"),
    "deep JSON": (sends(frames.frame(0, 0, b"[" * 200_000)), "no JSON"),
    "an object without end": (sends(frames.frame(frames.PART, 0, bytes(frames.LARGEST)) * 2), "a message of more than"),
    "an unknown event": (says({"event": "dance"}), "no agent sends"),
    "an answer to nothing": (says({"id": 99, "ok": {}}), "an answer to nothing"),
    "the same answer twice": (says({"id": 1, "ok": {}}), "an answer to nothing"),
    "a status that is none": (says({**EXIT, "status": 300}), "no status between"),
    "another version": (says({"event": "hello", "version": 7}), "an agent of version 7"),
    "the end of another process": (says({**EXIT, "stream": 3}), "process 3, which does not run"),
    "the end of work": (says({"event": "worked", "stream": 3}), "work 3, which there is not"),
    "a reply to nothing": (says({"event": "reply", "stream": 3, "message": {"ok": {}}}), "work 3, which there is not"),
    "output of another process": (sends(frames.frame(STDOUT, 3, b"x")), "stream 3 does not exist"),
    "credit for nothing": (sends(frames.credit(frames.STDIN, 3, 1)), "stream 3 does not exist"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_protocol_ends_the_machine(world: World, name: str) -> None:
    script, words = BROKEN[name]
    instance, created = world.started(script)
    status, _, error = ended(instance, created)
    assert status == 137 and words in error, error
    with pytest.raises(CortenError, match="the guest is gone"):
        instance.counters()
    assert instance.ending().status == 137


def test_a_program_that_ends_twice(world: World) -> None:
    """The first word holds, and the second ends the machine."""
    instance, created = world.started(says(EXIT, {**EXIT, "status": 1}))
    assert ended(instance, created).status == 0


@pytest.mark.parametrize("when", ["configure", "create"])
def test_one_that_breaks_it_before_there_is_a_container(world: World, when: str) -> None:
    def script(puppet: Puppet) -> None:
        puppet.request(when)
        puppet.raw(b"\xff" * 100)

    with pytest.raises(Failed, match="broke the protocol"):
        world.instance(script).create(NOTHING, (0, 0))


def test_silence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "_BOOT", 0.2)
    with pytest.raises(Unavailable, match="the guest does not answer: configure"):
        world.instance(lambda _: select.select([], [], [])).create(NOTHING, (0, 0))


def test_endless_words_are_no_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is taken in and forgotten; the time of the request passes all the same."""

    def script(puppet: Puppet) -> None:
        puppet.request("counters")
        while True:
            puppet.say({"event": "out of memory"})

    instance, _ = world.started(script)
    monkeypatch.setattr(guest_requests, "PATIENCE", 0.3)
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="does not answer: counters"):
        instance.counters()
    assert time.monotonic() - begun < PATIENCE


def test_a_late_answer_is_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def script(puppet: Puppet) -> None:
        asked = puppet.request("counters")
        puppet.say({"event": "out of memory"})
        puppet.request("update")  # which comes when the first one is given up
        puppet.answer(asked)
        puppet.exits(3)

    instance, created = world.started(script)
    monkeypatch.setattr(guest_requests, "PATIENCE", 0.2)
    with pytest.raises(Unavailable):
        instance.counters()
    with pytest.raises((Unavailable, Conflict)):
        instance.update({})
    assert ended(instance, created).status == 3


def test_more_output_than_there_is_credit_for(world: World) -> None:
    reader, writer = os.pipe2(os.O_CLOEXEC)

    def script(puppet: Puppet) -> None:
        puppet.answer(puppet.request("start"))
        while True:
            puppet.raw(frames.frame(STDOUT, 0, bytes(WINDOW)))

    instance = world.instance(script)
    created = instance.create((OF_CONTAINER, writer, writer), (0, 0))
    created.listener.close()
    os.close(writer)
    instance.start()
    poll = select.poll()
    poll.register(instance.events, select.POLLIN)
    while "no credit for" not in instance._agent.reason:
        assert poll.poll(PATIENCE * 1000)
        instance.advance()
    wait(instance, reader)  # what came before that is there, and then its end
    while os.read(reader, 65536):
        wait(instance, reader)
    os.close(reader)
    assert ended(instance, created).status == 137


def test_what_a_program_writes_behind_its_end_is_lost(world: World) -> None:
    """Otherwise its end would not come as long as there is more, and meanwhile nothing could kill it: it has ended."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    behind = 1000

    def script(puppet: Puppet) -> None:
        puppet.answer(puppet.request("start"))
        puppet.raw(frames.frame(STDOUT, 0, bytes(WINDOW - behind)))
        puppet.exits(5)
        puppet.raw(frames.frame(STDOUT, 0, bytes(behind)))
        puppet.say({"event": "out of memory"})

    instance = world.instance(script)
    created = instance.create((OF_CONTAINER, writer, writer), (0, 0))
    created.listener.close()
    os.close(writer)
    instance.start()
    wait(instance, created.oom)  # which comes last, while most of the output has no room in the pipe
    came, data = 0, b"any"
    while data:
        wait(instance, reader)
        data = os.read(reader, 65536)
        came += len(data)
    os.close(reader)
    assert came == WINDOW - behind
    assert ended(instance, created) == Ending(5, False, "")


@pytest.mark.parametrize("answer", [{}, [], {"cpu": []}, {"cpu": {}, "memory": 7, "pids": {}, "blkio": {}}], ids=str)
def test_counters_that_are_none(world: World, answer: object) -> None:
    """A lie that breaks nothing is the error of that request alone."""

    def script(puppet: Puppet) -> None:
        puppet.answer(puppet.request("counters"), answer)
        puppet.answer(puppet.request("update"), {"warnings": ["a word"]})
        puppet.exits(4)

    instance, created = world.started(script)
    with pytest.raises(Corrupt):
        instance.counters()
    assert instance.update({}) == ["a word"]
    assert ended(instance, created).status == 4


def test_more_replies_than_any_work_has(world: World) -> None:
    def script(puppet: Puppet) -> None:
        asked = puppet.request("work")
        puppet.answer(asked)
        for _ in range(3):
            puppet.say({"event": "reply", "stream": asked["stream"], "message": {"ok": STATUS}})

    assert "more than 2 answers" in _looking(world, script)


_NOT_WHOLE: list[tuple[Json, str]] = [
    *(({key: value for key, value in STATUS.items() if key != lost}, f"without {lost}") for lost in STATUS),
    ({**STATUS, "mode": 1 << 32}, "with a mode of more than 32 bits"),
    ({**STATUS, "mode": -1}, "with a mode of more than 32 bits"),
]


@pytest.mark.parametrize(("shown", "words"), _NOT_WHOLE, ids=str)
def test_a_status_that_is_not_whole(world: World, shown: Json, words: str) -> None:
    """A daemon shows all of it."""

    def script(puppet: Puppet) -> None:
        asked = puppet.request("work")
        puppet.answer(asked)
        puppet.say({"event": "reply", "stream": asked["stream"], "message": {"ok": shown}})

    assert f"the status of a file {words}" in _looking(world, script)


def _looking(world: World, script: Script) -> str:
    """Why the guest ends that is asked about a file."""
    instance, created = world.started(script)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        work = instance.work(Look("/etc"), theirs.fileno(), -1)
        error = ended(instance, created).error
        wait(instance, work.ended)
        work.reap()
    return error


def test_work_and_processes_end_with_the_machine(world: World) -> None:
    def script(puppet: Puppet) -> None:
        puppet.answer(puppet.request("exec"))
        puppet.answer(puppet.request("work"))
        os._exit(0)

    instance, created = world.started(script)
    process = instance.enter(Execution("e", {"args": ["sleep"]}, False, False, (0, 0)), NOTHING)
    wait(instance, process.ready)
    assert process.started() == -1
    reader, writer = os.pipe2(os.O_CLOEXEC)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        work = instance.work(Fetch("/etc"), theirs.fileno(), writer)
        os.close(writer)
        wait(instance, work.ended)
        work.reap()
    assert os.read(reader, 1) == b""
    os.close(reader)
    wait(instance, process.ended)
    assert process.reap() == 137
    assert ended(instance, created).status == 137


def test_a_process_on_its_way_in_when_the_machine_ends(world: World) -> None:
    def script(puppet: Puppet) -> None:
        puppet.request("exec")
        os._exit(0)

    instance, created = world.started(script)
    process = instance.enter(Execution("e", {"args": ["sleep"]}, False, False, (0, 0)), NOTHING)
    wait(instance, process.ready)
    with pytest.raises(Conflict):
        process.started()
    assert ended(instance, created).status == 137
    with pytest.raises(NotFound):
        instance.enter(Execution("e", {"args": ["sleep"]}, False, False, (0, 0)), NOTHING)


def test_a_guest_for_whose_disk_there_is_no_room_goes_on_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's disk is full: nothing is lost, it is said, and it is tried again until there is room."""
    resumed: list[bool] = []

    def script(puppet: Puppet) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)  # as QEMU stops it
        puppet.exits(6)

    monkeypatch.setattr(guest_requests, "PATIENCE", 0.2)
    monkeypatch.setattr(virtual, "_AGAIN", 0.01)
    instance, created = world.started(script)
    machine = instance._machine
    assert isinstance(machine, ProcessMachine)
    os.waitid(os.P_PID, machine.pid, os.WSTOPPED)  # or it would be resumed before it stands still

    def attend() -> None:
        os.eventfd_read(machine.attention)
        machine.stalled = True

    def resume() -> None:
        resumed.append(True)
        if len(resumed) < 3:
            os.eventfd_write(machine.attention, 1)  # still no room
        else:
            ProcessMachine.resume(machine)

    monkeypatch.setattr(machine, "attend", attend)
    monkeypatch.setattr(machine, "resume", lambda: None)
    os.eventfd_write(machine.attention, 1)
    with pytest.raises(Exhausted, match="until there is room on the disk of the host"):
        instance.counters()
    monkeypatch.setattr(machine, "resume", resume)
    os.eventfd_write(machine.attention, 1)
    assert ended(instance, created).status == 6 and len(resumed) == 3


def test_a_process_that_ends_before_it_has_begun(world: World) -> None:
    def script(puppet: Puppet) -> None:
        asked = puppet.request("exec")
        puppet.exits(3, asked["stream"])
        puppet.answer(asked)

    instance, created = world.started(script)
    process = instance.enter(Execution("e", {"args": ["true"]}, False, False, (0, 0)), NOTHING)
    wait(instance, process.ready)
    with pytest.raises(Conflict):
        process.started()
    assert "which does not run" in ended(instance, created).error


def test_what_is_asked_of_one_that_is_silent_does_not_wait_in_a_row(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon gives each request ten seconds: one that comes behind others has to be sent within these."""

    def script(puppet: Puppet) -> None:
        late = puppet.request("counters")
        puppet.request("update")
        puppet.answer(late)
        puppet.answer(puppet.request("table"), {"processes": []})

    instance, _ = world.started(script)
    monkeypatch.setattr(guest_requests, "PATIENCE", 0.2)
    monkeypatch.setattr(guest_requests, "IMPATIENCE", 0.0)
    with pytest.raises(Unavailable):
        instance.counters()
    with pytest.raises(Unavailable):
        instance.update({})
    monkeypatch.setattr(guest_requests, "IMPATIENCE", PATIENCE)
    assert instance.table() == []


def test_the_patience_with_a_guest_is_shorter_than_that_with_its_supervisor() -> None:
    assert guest_requests.PATIENCE + guest_requests.IMPATIENCE < outgoing.PATIENCE


def test_a_program_that_cannot_be_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent says that the signal was sent, and goes on."""
    monkeypatch.setattr(virtual, "_KILL", 0.2)
    instance, created = world.started(lambda puppet: puppet.answer(puppet.request("signal")))
    instance.signal(signal.SIGKILL, False)
    ending = ended(instance, created)
    assert ending.status == 137 and "did not end within 200ms" in ending.error


def test_one_that_does_not_answer_is_killed_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the minute that a program has: nothing would kill it."""
    monkeypatch.setattr(guest_requests, "PATIENCE", 0.1)
    instance, created = world.started(lambda _: select.select([], [], []))
    with pytest.raises(Unavailable):
        instance.signal(signal.SIGTERM, False)
    instance.signal(signal.SIGKILL, False)
    ending = ended(instance, created)
    assert ending.status == 137 and "did not end within 100ms" in ending.error


def test_one_that_has_been_silent_has_its_time_to_kill(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is not waited for, and the machine goes on as long as an answer is not too late."""

    def script(puppet: Puppet) -> None:
        puppet.request("counters")
        puppet.answer(puppet.request("signal"))
        puppet.exits(137)

    instance, created = world.started(script)
    monkeypatch.setattr(guest_requests, "PATIENCE", 0.1)
    with pytest.raises(Unavailable):
        instance.counters()
    monkeypatch.setattr(guest_requests, "PATIENCE", PATIENCE)
    monkeypatch.setattr(guest_requests, "IMPATIENCE", 0.0)
    instance.signal(signal.SIGKILL, False)
    assert ended(instance, created) == Ending(137, False, "")


def test_a_machine_that_does_not_stop_in_time_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU may stop it when nothing waits for that any more: what is not called paused has to run."""

    def script(puppet: Puppet) -> None:
        puppet.answer(puppet.request("pause"))
        puppet.request("resume")
        puppet.exits(7)

    def pause(machine: ProcessMachine) -> None:
        stop(machine)
        raise Failed("QEMU has not answered within 8s")

    stop = ProcessMachine.pause
    monkeypatch.setattr(ProcessMachine, "pause", pause)
    instance, created = world.started(script)
    monkeypatch.setattr(instance, "_last", {})
    monkeypatch.setattr(answers, "counters", lambda _: {})
    with pytest.raises(Failed, match="has not answered within"):
        instance.pause()
    assert ended(instance, created).status == 7


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.text(max_size=3),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=3), below, max_size=2),
    max_leaves=5,
)
WORDS = st.fixed_dictionaries(
    {},
    optional={
        "event": st.sampled_from(["hello", "exit", "out of memory", "reply", "worked"]) | ANYTHING,
        "id": st.integers(-1, 9),
        "ok": ANYTHING,
        "error": st.fixed_dictionaries(
            {}, optional={"kind": st.sampled_from(["NotFound", "OSError", "x"]), "errno": st.integers(0, 9)}
        ),
        "stream": st.integers(-1, 4),
        "status": st.integers(-1, 300),
        "out_of_memory": st.booleans(),
        "version": st.integers(0, 2),
        "message": st.fixed_dictionaries({}, optional={"ok": ANYTHING, "error": ANYTHING}),
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WORDS, max_size=8))
def test_any_words_are_taken_or_corrupt(world: World, words: list[Json]) -> None:
    """With a process on its way in, one that runs, and work under way: nothing but Corrupt comes of it."""
    instance, process = _FUZZED.get(world) or _FUZZED.setdefault(world, _with_everything(world))
    for word in words:
        try:
            instance._received(json.loads(json.dumps(word)))
        except Corrupt:
            pass
    assert process.ended >= 0


_FUZZED: dict[World, tuple[Virtual, GuestProcess]] = {}


def _with_everything(world: World) -> tuple[Virtual, GuestProcess]:
    def script(puppet: Puppet) -> None:
        puppet.answer(puppet.request("exec"))
        puppet.request("exec")
        puppet.answer(puppet.request("work"))

    instance, _ = world.started(script)
    first, second = (
        instance.enter(Execution("e", {"args": ["sleep"]}, False, False, (0, 0)), NOTHING) for _ in range(2)
    )
    wait(instance, first.ready)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        work = instance.work(Look("/etc"), theirs.fileno(), -1)
    # What is discarded is in no table of its instance, which would end it.
    world.at_end += [instance._processes.clear, first.discard, second.discard, work.discard]
    return instance, first
