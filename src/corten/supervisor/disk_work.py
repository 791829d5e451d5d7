"""Short-lived children of the launcher that work on disks of machines, by QEMU's own block layer.

QEMU runs without a machine, confined as one is: what a foreign image makes of it can open no file but those
that it was given.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from corten.errors import Exhausted, Failed, Invalid
from corten.kernel import process as p
from corten.kernel.full_disk import writing
from corten.spec import qcow2
from corten.supervisor import wire
from corten.supervisor.failures import tried
from corten.vm import confine
from corten.vm.machine import FIRST
from corten.vm.qemu import lines
from corten.vm.qmp import Monitor

Json = dict[str, Any]

_ANSWER = 60.0  # seconds
_TICK = 0.5  # seconds between two words about how far it is
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_FULL = os.strerror(errno.ENOSPC)


def convert(request: Json, fds: list[int]) -> None:
    """Copy the image fds[1], of QEMU's format request["format"], to the empty file fds[2], which becomes a qcow2 and is
    grown to request["size"] bytes, where that is more than 0. request["qemu"] is the program.

    Frames {"done": bytes, "of": bytes} go before the answer {"size": bytes}.
    """
    reply = socket.socket(fileno=fds[0])

    def make() -> Json:
        with Blocks(request["qemu"]) as blocks:
            try:
                blocks.add("source", request["format"], fds[1], read_only=True)
            except Failed as failed:
                raise Invalid(f"no image that can be read: {failed}") from failed
            size = blocks.size("source")
            if not 0 < size <= qcow2.MAX_SIZE:
                raise Invalid(f"an image of a disk of {size} bytes")
            path = os.readlink(f"/proc/self/fd/{fds[2]}")
            with writing(path):
                for offset, data in qcow2.empty(size):
                    os.pwrite(fds[2], data, offset)
            blocks.add("target", "qcow2", fds[2], read_only=False)
            job = {"job-id": "copy", "device": "source", "target": "target", "sync": "full", "auto-dismiss": False}
            blocks.run("copy", "blockdev-backup", job, lambda done, of: wire.send(reply, {"done": done, "of": of}))
            if request["size"] > size:
                blocks.resize("target", request["size"])
            blocks.remove("target")
            os.fsync(fds[2])
        return {"size": size}

    wire.send(reply, tried(make))
    os._exit(0)


class Blocks:
    """QEMU's block layer; a context. Failed with QEMU's words, Exhausted for a full disk."""

    def __init__(self, qemu: str) -> None:
        with ExitStack() as undo, ExitStack() as theirs:
            ours, its = socket.socketpair()
            undo.callback(ours.close)
            theirs.callback(its.close)
            self._errors, errors = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            undo.callback(os.close, self._errors)
            theirs.callback(os.close, errors)
            arguments = [qemu, "-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-sandbox"]
            arguments += [_SANDBOX, "-chardev", f"socket,id=monitor,fd={FIRST}", "-mon", "chardev=monitor,mode=control"]
            _, self._ended = confine.execute(arguments, [its.fileno()], errors, lambda: None, False)
            self._monitor = Monitor(ours, _ANSWER)
            self._open = undo.pop_all()

    def __enter__(self) -> Blocks:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            signal.pidfd_send_signal(self._ended, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended by itself
        select.select([self._ended], [], [])
        p.reap(self._ended)
        self._open.close()

    def add(self, name: str, format: str, fd: int, read_only: bool) -> None:
        added = self._ask("add-fd", {}, [fd])
        file = {"driver": "file", "filename": f"/dev/fdset/{int(added['fdset-id'])}", "locking": "off",
                "node-name": f"{name}-file", "read-only": read_only, "discard": "unmap"}  # fmt: skip
        made: Json = {"driver": format, "node-name": name, "read-only": read_only, "file": file}
        if not read_only:
            made |= {"discard": "unmap", "detect-zeroes": "unmap"}
        if format == "qcow2":
            made["backing"] = None
        self._ask("blockdev-add", made)

    def remove(self, name: str) -> None:
        """All that was written to it is in the file."""
        self._ask("blockdev-del", {"node-name": name})

    def resize(self, name: str, size: int) -> None:
        self._ask("block_resize", {"node-name": name, "size": size})

    def size(self, name: str) -> int:
        nodes = self._ask("query-named-block-nodes", {"flat": True})
        return int(next(each["image"]["virtual-size"] for each in nodes if each.get("node-name") == name))

    def run(self, job: str, command: str, arguments: Json, progress: Callable[[int, int], None]) -> None:
        """A block job to its end."""
        self._ask(command, arguments)
        while True:
            select.select([self._monitor], [], [], _TICK)
            self._monitor.events()
            state = next((each for each in self._ask("query-jobs") if each.get("id") == job), None)
            if state is None:
                raise Failed(f"{command}: the job is gone")
            progress(int(state.get("current-progress", 0)), int(state.get("total-progress", 0)))
            if state.get("status") == "concluded":
                self._ask("job-dismiss", {"id": job})
                if error := state.get("error"):
                    raise _problem(str(error))
                return

    def _ask(self, command: str, arguments: Json | None = None, fds: list[int] | None = None) -> Any:
        try:
            return self._monitor.ask(command, arguments, fds or ())
        except Failed as failed:
            if self._monitor.is_closed and (words := lines(self._last_words())):
                raise Failed(f"QEMU has ended: {words[-1][:200]}") from failed
            raise _problem(str(failed)) from failed

    def _last_words(self) -> bytes:
        try:
            return os.read(self._errors, 1 << 16)
        except BlockingIOError:
            return b""


def _problem(text: str) -> Exhausted | Failed:
    return Exhausted(f"no space for the disk: {text}") if _FULL in text else Failed(text)
