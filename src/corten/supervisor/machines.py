"""Short-lived children of the launcher that make what guests begin from: the initramfs, a template."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from corten.error_codec import encode
from corten.supervisor import wire
from corten.supervisor.failures import EXPECTED, print_exception
from corten.vm import initramfs, kept, kernels, template
from corten.vm.contract import Shape
from corten.vm.template import Template

Json = dict[str, Any]


def parts(request: Json, fds: list[int]) -> None:
    """Answer with the name of the initramfs for the kernel request["kernel"] of request["architecture"] and descriptors
    of both, [kernel, initramfs]. It is made in the directory request["initramfs"] when it is not there; others there
    are removed."""

    def make() -> tuple[Json, list[int]]:
        kernel = kernels.at(Path(request["kernel"]))
        contents = initramfs.collect(kernel, architecture=request["architecture"])
        directory = Path(request["initramfs"])
        path = _initramfs(contents, directory)
        return {"initramfs": contents.key}, [_open(kernel.image), _open(path)]

    _answer(fds[0], make)


def boot(request: Json, fds: list[int]) -> None:
    """Boot kernel fds[1] with initramfs fds[2] and answer with the template's [memory, state]; or with that which the
    directory request["directory"] has under request["key"]."""

    def make() -> tuple[Json, list[int]]:
        shape = Shape(**request["shape"])
        found = kept.load(Path(request["directory"]), request["key"], shape)
        made = found or template.make(shape, fds[1], fds[2], lambda: None)
        return {"booted": found is None}, [*made]

    _answer(fds[0], make)


def keep(request: Json, fds: list[int]) -> None:
    """Store the template [fds[1], fds[2]] in the directory request["directory"] under request["key"]."""

    def store() -> tuple[Json, list[int]]:
        kept.store(Template(fds[1], fds[2]), Path(request["directory"]), request["key"])
        return {}, []

    _answer(fds[0], store)


def _initramfs(contents: initramfs.Contents, directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / contents.key
    for other in directory.iterdir():
        if other != path:
            other.unlink(missing_ok=True)
    if not path.exists():
        fresh = directory / f"{contents.key}.new"
        with fresh.open("wb") as file:
            initramfs.write(contents, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    return path


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _answer(reply: int, make: Any) -> None:
    connection = socket.socket(fileno=reply)
    try:
        body, given = make()
        wire.send(connection, {"ok": body}, given)
    except Exception as error:
        if not isinstance(error, EXPECTED):
            print_exception()
        wire.send(connection, {"error": encode(error)})
    os._exit(0)
