"""A container between two calls of the command line: ROOT/ID/state.json and the socket on which its init waits."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import NamedTuple

from corten.errors import Conflict, Invalid, NotFound
from corten.kernel.process import start_time
from corten.runtime import cgroups
from corten.runtime.cgroups import Cgroup
from corten.spec.json import Json

OCI_VERSION = "1.2.0"
_ID = re.compile(r"[A-Za-z0-9_.+-]{1,1024}")
_SOCKET = "start.sock"


class Container(NamedTuple):
    """One container that `create` has made. `content` is state.json."""

    directory: Path
    content: Json

    @property
    def id(self) -> str:
        return str(self.content["id"])

    @property
    def pid(self) -> int:
        return int(self.content["pid"])

    @property
    def bundle(self) -> str:
        return str(self.content["bundle"])

    def alive(self) -> bool:
        """Whether the first process still runs; a process that got its number later is another."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:
            return False
        return fields[0] not in (b"Z", b"X") and start_time(self.pid) == self.content["start_time"]

    def status(self) -> str:
        """created, running, paused or stopped (runtime-spec, runtime.md, "State")."""
        if not self.alive():
            return "stopped"
        if (self.directory / _SOCKET).exists():
            return "created"
        try:
            return "paused" if self.cgroup().frozen() else "running"
        except NotFound:
            return "running"

    def cgroup(self) -> Cgroup:
        return cgroups.open(cgroups.detect(), self.content["cgroup"])

    def spec(self) -> Json:
        spec: Json = json.loads((self.directory / "config.json").read_bytes())
        return spec

    def document(self) -> Json:
        """The state that the specification defines, with runc's additions."""
        alive = self.alive()
        return {
            "ociVersion": OCI_VERSION,
            "id": self.id,
            "pid": self.pid if alive else 0,
            "status": self.status(),
            "bundle": self.bundle,
            "rootfs": self.content["rootfs"],
            "created": self.content["created"],
            "owner": "",
            "annotations": self.content.get("annotations") or {},
        }

    def connect(self) -> socket.socket:
        """To the init that waits to be started. Conflict when it does not wait any more."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        directory = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{directory}/{_SOCKET}")
        except OSError as error:
            connection.close()
            raise Conflict(f"cannot start a container that is {self.status()}: {self.id}") from error
        finally:
            os.close(directory)
        os.unlink(self.directory / _SOCKET)
        return connection

    def remove(self) -> None:
        _remove(self.directory)


def check_id(name: str) -> str:
    if not _ID.fullmatch(name) or name in (".", ".."):
        raise Invalid(f"invalid container id: {name!r}")
    return name


def find(root: Path, name: str) -> Container:
    directory = root / check_id(name)
    try:
        return Container(directory, json.loads((directory / "state.json").read_bytes()))
    except FileNotFoundError:
        raise NotFound(f"container {name!r} does not exist") from None


def all_containers(root: Path) -> list[Container]:
    names = sorted(path.parent.name for path in root.glob("*/state.json"))
    return [find(root, name) for name in names]


def reserve(root: Path, name: str) -> Path:
    """The directory of a new container. Conflict when the name is taken."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = root / check_id(name)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        raise Conflict(f"container with id exists: {name}") from None
    return directory


def discard(root: Path, name: str) -> None:
    """What a `create` that was killed before `save` has left: the name is free again, as with runc."""
    directory = root / check_id(name)
    if directory.is_dir() and not (directory / "state.json").exists():
        _remove(directory)


def _remove(directory: Path) -> None:
    for entry in directory.iterdir():
        entry.unlink()
    directory.rmdir()


def listen(directory: Path) -> socket.socket:
    """Where the new container's init will wait for `start`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{fd}/{_SOCKET}")
    finally:
        os.close(fd)
    listener.listen(1)
    return listener


def save(directory: Path, content: Json) -> None:
    temporary = directory / ".state.json"
    temporary.write_text(json.dumps(content))
    temporary.replace(directory / "state.json")
