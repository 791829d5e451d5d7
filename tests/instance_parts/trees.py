"""What is done about the tree of an instance."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
from collections.abc import Iterator
from typing import Any

from corten.instance.contract import (
    Changes,
    Export,
    Fetch,
    Instance,
    Layer,
    Look,
    Put,
    TreeRequest,
)
from corten.supervisor import wire
from instance_parts.world import World, case, killed, wait

Json = dict[str, Any]


class Conversation:
    """Work on a tree, and the other ends of its descriptors; as a context, its end is waited for."""

    def __init__(self, instance: Instance, request: TreeRequest, data: int = -1) -> None:
        self.instance = instance
        self.reply, theirs = socket.socketpair()
        with theirs:
            self.work = instance.work(request, theirs.fileno(), data)
        if data >= 0:
            os.close(data)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.reply.close()
        wait(self.work.ended, self.instance)
        self.work.reap()
        assert self.work.ended == -1

    def answers(self) -> list[Json]:
        """All of them, to the end."""
        return list(self)

    def __iter__(self) -> Iterator[Json]:
        decoder = wire.Decoder()
        more = True
        while more:
            wait(self.reply.fileno(), self.instance)
            more = wire.receive(self.reply, decoder)
            while frame := decoder.next():
                yield frame[0]


def looked(instance: Instance, path: str) -> Json:
    with Conversation(instance, Look(path)) as conversation:
        (answer,) = conversation.answers()
    return answer


def fetched(instance: Instance, request: TreeRequest) -> tuple[list[Json], bytes]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with Conversation(instance, request, writer) as conversation:
        data = b""
        while more := read_when_ready(reader, instance):
            data += more
        os.close(reader)
        return conversation.answers(), data


def read_when_ready(fd: int, instance: Instance) -> bytes:
    wait(fd, instance)
    return os.read(fd, 65536)


def put(instance: Instance, request: Put, name: str, content: bytes) -> Json:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(writer, "wb") as file, tarfile.open(fileobj=file, mode="w|") as tar:
        tar.addfile(info, io.BytesIO(content))
    with Conversation(instance, request, reader) as conversation:
        (answer,) = conversation.answers()
    return answer


@case
def its_files_are_looked_at(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    found = looked(instance, "/etc/passwd")["ok"]
    assert (found["name"], found["size"]) == ("passwd", (world.tree / "etc/passwd").stat().st_size)
    assert "ok" in looked(instance, "/proc/version")  # what is mounted in it is seen as well
    error = looked(instance, "/etc/nothing")["error"]
    assert error["kind"] == "NotFound" and "/etc/nothing" in error["text"]
    killed(instance, created)


@case
def its_files_are_read(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    answers, data = fetched(instance, Fetch("/etc/passwd"))
    assert answers[0]["ok"]["name"] == "passwd" and answers[1] == {"ok": {"left_out": 0}}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        (member,) = tar.getmembers()
        file = tar.extractfile(member)
        assert file is not None and file.read() == (world.tree / "etc/passwd").read_bytes()
    killed(instance, created)


@case
def its_files_are_written(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    assert put(instance, Put("/etc", owner="bob"), "motd", b"good day\n") == {"ok": {}}
    process, output = world.entered(instance, "sh", "-c", "cat /etc/motd; busybox stat -c %u /etc/motd")
    world.wait(process.ended)
    assert process.reap() == 0 and world.some(output) == b"good day\n1000\n"
    assert put(instance, Put("/nowhere"), "motd", b"")["error"]["kind"] == "NotFound"
    killed(instance, created)


@case
def all_its_files(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    answers, data = fetched(instance, Export())
    assert answers == [{"ok": {}}, {"ok": {"left_out": 0}}]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert {"bin/busybox", "etc/passwd"} <= {*names} and not any(name.startswith("proc/") for name in names)
    killed(instance, created)


@case
def what_has_changed_in_it(world: World) -> None:
    instance, created = world.started("sh", "-c", "echo word > /etc/new; rm /etc/passwd; echo ready; sleep 1000")
    assert world.some(world.pipe) == b"ready\n"
    answers, data = fetched(instance, Changes())
    assert answers == [{"ok": {}}, {"ok": {}}]
    kinds = {change["Path"]: change["Kind"] for change in json.loads(data)}
    assert (kinds["/etc"], kinds["/etc/new"], kinds["/etc/passwd"]) == (0, 1, 2) and "/bin" not in kinds
    _, data = fetched(instance, Layer())
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {"etc/new", "etc/.wh.passwd"} <= {*tar.getnames()}
    killed(instance, created)


@case
def work_ends_with_who_asked_for_it(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with Conversation(instance, Fetch("/bin"), writer) as conversation:
        assert next(iter(conversation))["ok"]["name"] == "bin"
    os.close(reader)  # which nothing has read: more was to come than a pipe holds
    with Conversation(instance, Put("/etc"), os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)) as conversation:
        conversation.work.end()
        assert conversation.answers() in ([], [{"ok": {}}])
    killed(instance, created)
