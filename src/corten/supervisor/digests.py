"""A short-lived child that says what the files of a tree are."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import Any

from corten.layers import tree
from corten.layers.confine import confine
from corten.layers.limits import LONGEST_PATH
from corten.supervisor import views
from corten.supervisor.steps import serve

Json = dict[str, Any]
_PIECE = 1 << 20


def files(request: Json, fds: list[int]) -> None:
    """The regular files of request["tree"], to fds[1]: a line of JSON each, [path, sha256 in hex]."""
    held: list[int] = []

    def work() -> Json:
        top = views.of_mount(request["tree"])
        confine(top)
        held.append(top)
        return {}

    def send() -> Json:
        count = 0
        with open(fds[1], "wb") as file:
            for found in tree.walk(held[0], LONGEST_PATH):
                if stat.S_ISREG(found.status.st_mode):
                    line = [found.path.decode("utf-8", "backslashreplace"), _digest(found)]
                    file.write(json.dumps(line).encode() + b"\n")
                    count += 1
        return {"files": count}

    serve(fds[0], work, send)


def _digest(found: tree.Found) -> str:
    fd = os.open(found.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=found.dirfd)
    try:
        hash = hashlib.sha256()
        while piece := os.read(fd, _PIECE):
            hash.update(piece)
        return hash.hexdigest()
    finally:
        os.close(fd)
