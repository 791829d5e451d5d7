"""A short-lived child that says what package managers know of a tree (`corten.layers.inventory`)."""

from __future__ import annotations

import json
import resource
from typing import Any

from corten.layers.confine import confine
from corten.layers.inventory import inventory
from corten.spec.packages.package import Inventory
from corten.supervisor import views
from corten.supervisor.steps import serve

Json = dict[str, Any]
_SECONDS = 120  # of processor time: many times what a large tree takes


def packages(request: Json, fds: list[int]) -> None:
    """Of the tree request["tree"], to fds[1]: a line of JSON with the distribution and what could not be read, then one
    for each package."""
    found: list[Inventory] = []

    def work() -> Json:
        top = views.of_mount(request["tree"])
        confine(top)
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        found.append(inventory(top))
        return {}

    def send() -> Json:
        (known,) = found
        with open(fds[1], "wb") as file:  # no text: a confined process has no other codecs
            for line in ([known.distribution, known.unread], *known.packages):
                file.write(json.dumps(line).encode() + b"\n")
        return {"packages": len(known.packages)}

    serve(fds[0], work, send)
