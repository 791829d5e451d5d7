"""Short-lived children that read the trees of a build's result for an output, as `supervisor.steps` makes layers."""

from __future__ import annotations

import os
from typing import Any

from corten.layers.collected import Above, Beside, Extra, Own, Part, walk
from corten.layers.confine import confine
from corten.layers.pack import Packer
from corten.layers.sending import Sending
from corten.supervisor import views
from corten.supervisor.steps import serve

Json = dict[str, Any]
_FILES = 1 << 14  # descriptors: one for each level of a tree, of which a path that is not too long has 2048


def tar(request: Json, fds: list[int]) -> None:
    """The trees request["trees"] as a tar to fds[1]. Files beside them are in fds[2], one behind the other."""
    parts: list[Part] = []

    def work() -> Json:
        parts.extend(_enter(request, fds[2]))
        return {}

    def send() -> Json:
        packer = Packer(fds[1], epoch=request["epoch"])
        for entry in walk(parts):
            match entry:
                case Above():
                    packer.directory(entry.path)
                case Beside():
                    packer.file(entry.path, os.pread(entry.extra.fd, entry.extra.size, entry.extra.offset))
                case Own():
                    packer.add(entry.found.dirfd, entry.found.name, entry.path, entry.found.status)
        packer.end()
        return {"left_out": packer.left_out}

    serve(fds[0], work, send)


def send(request: Json, fds: list[int]) -> None:
    """The same in fsutil's transfer to fds[1]; what the receiver asks for comes from fds[3]."""
    parts: list[Part] = []

    def work() -> Json:
        parts.extend(_enter(request, fds[2]))
        return {}

    def run() -> Json:
        sending = Sending(fds[1], fds[3], walk(parts), request["epoch"])
        sending.run()
        return {"size": sending.size}

    serve(fds[0], work, run)


def _enter(request: Json, extra: int) -> list[Part]:
    parts, roots, offset = [], [], 0
    for entry in request["trees"]:
        root = views.of_mount(entry["mount"]) if entry["mount"] is not None else None
        roots += [root] if root is not None else []
        beside = []
        for name, size in entry["extra"]:
            beside.append(Extra(os.fsencode(name), extra, offset, size))
            offset += size
        parts.append(Part(root, os.fsencode(entry["directory"]), tuple(sorted(beside, key=lambda each: each.name))))
    confine(*roots, files=_FILES)
    return parts
