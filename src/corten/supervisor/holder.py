"""The process that keeps a sandbox's namespaces while no other process is in them; see `corten.sandbox.sandboxes`.

It outlives the daemon, and is found again by the socket in its directory. A request is one frame: "open" is answered
with the descriptors that `namespaces` makes, and behind them those of the other "kinds" that were asked for; "end" with
{"ok": true} before the process ends. Its directory is the daemon's to remove.

A pod's holder has these kinds as well, as `shared` makes them: "ipc", with a file system for /dev/shm, "uts" with the
pod's host name, and "pid", whose first process collects those that lose their parents. That one is seen by the pod's
containers, so it holds nothing: no descriptor, no capability, an empty root.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

from corten.error_codec import encode
from corten.errors import CortenError
from corten.kernel import caps
from corten.kernel import mount as m
from corten.kernel import process as p
from corten.supervisor import sockets, wire
from corten.supervisor.namespaces import new, with_user

Json = dict[str, Any]
_PATIENCE = 10.0  # seconds for one request
_FLAGS = {"ipc": p.CLONE_NEWIPC, "uts": p.CLONE_NEWUTS, "pid": p.CLONE_NEWPID}
_LINKS = {"pid": "pid_for_children"}  # of /proc/self/ns: this process itself stays in its own
_LANDING = "/sys"  # a directory that every machine has and that is not needed meanwhile (`runtime.rootfs`)
_OF_MEMORY = m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOEXEC


def hold(request: Json, fds: list[int]) -> None:
    """Answer with the descriptors, then serve until the end. Does not return."""
    p.set_name("corten:sandbox")
    reply = socket.socket(fileno=fds[0])
    kinds = list(request.get("kinds") or ())
    try:
        listener = _listen(fds[1])  # before the user namespace is entered: the directory is the host's root's
        made = _network(request, fds[2:])
        if kinds:
            made += shared(kinds, request.get("hostname") or "", request.get("shm") or 0)
    except (CortenError, OSError) as error:
        wire.send(reply, {"error": encode(error)})
        os._exit(1)
    opened = {"ok": True, "kinds": kinds}
    wire.send(reply, opened, made)
    reply.close()
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(_PATIENCE)
            try:
                _serve(connection, opened, made)
            except (OSError, wire.ProtocolError):  # this client disconnected, or sends nothing
                continue


def _network(request: Json, given: list[int]) -> list[int]:
    """A network namespace, which this process is in, a rtnetlink socket in it, and the user namespace that owns it. One
    that was `given` is there already, so that it can be connected meanwhile."""
    if given:
        p.setns(given[0], p.CLONE_NEWNET)
        return given
    return list(with_user(request["id_map"]) if request.get("id_map") else new([]))


def _listen(directory: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"/proc/self/fd/{directory}/{sockets.HOLDER}")
    os.close(directory)
    listener.listen(16)
    return listener


def shared(kinds: list[str], hostname: str, shm: int) -> list[int]:
    """Descriptors of new namespaces of these kinds, in their order. `shm` is the size of /dev/shm in bytes.

    This process has an empty root afterwards, in which /dev/shm is all that there is. No module can be imported then.
    """
    proc = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        p.unshare(sum(_FLAGS[kind] for kind in kinds) | p.CLONE_NEWNS)
        if hostname and "uts" in kinds:
            p.set_hostname(hostname)
        _empty_root(shm if "ipc" in kinds else 0)
        if "pid" in kinds:
            _begin_processes()
        return [os.open(f"ns/{_LINKS.get(kind, kind)}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc) for kind in kinds]
    finally:
        os.close(proc)


def _empty_root(shm: int) -> None:
    """Copies of the host's mounts would keep its file systems busy. /dev/shm is for the pod's containers to copy."""
    m.set_propagation("/", m.MS_PRIVATE)
    root = m.new("tmpfs", ("mode=0755", "size=16k", "nr_inodes=8"), m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV)
    m.move_to(root, _LANDING)
    os.fchdir(root)
    os.close(root)
    if shm:
        os.makedirs("dev/shm")
        memory = m.new("tmpfs", ("mode=1777", f"size={shm}"), _OF_MEMORY)
        m.move_to(memory, "dev/shm")
        os.close(memory)
    m.pivot_root(".", ".")  # the old root now lies over the new one, and "." is still the new
    m.unmount(".", m.MNT_DETACH)
    os.chdir("/")


def _begin_processes() -> None:
    """The first process of the new PID namespace, which ends with this one; the kernel ends what is in it then.

    It holds nothing any more when this returns: the next processes in the namespace are a pod's containers.
    """
    alive, _kept = os.pipe2(os.O_CLOEXEC)
    stripped, _open = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        try:
            p.set_title("pod's processes")
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel collects those that end
            caps.drop_bounding(())
            caps.capset((), (), ())
            os.dup2(alive, 0)
            os.dup2(_open, 1)
            p.close_range(2)
            os.close(1)
            os.read(0, 1)
        finally:
            os._exit(0)
    os.close(_open)
    os.read(stripped, 1)
    os.close(stripped)
    os.close(alive)  # `_kept` stays open as long as this process is there


def _serve(connection: socket.socket, opened: Json, made: list[int]) -> None:
    for request, _ in wire.frames(connection):
        match request.get("do"):
            case "open":
                wire.send(connection, opened, made)
            case "end":
                wire.send(connection, {"ok": True})
                os._exit(0)
            case other:
                wire.send(connection, {"error": encode(ValueError(f"unknown request {other!r}"))})
