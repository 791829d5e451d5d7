"""Bodies of requests, compared with requests.json: what was sent before the command line had structures."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unit.cli.scripted import Daemon, reply

Corten = Callable[..., tuple[int, str, str]]
ID = "c" * 64
RECORDED: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("requests.json").read_text())


def script(daemon: Daemon) -> None:
    """Everything is there and succeeds at once."""
    daemon.on("POST /containers/create", reply(201, {"Id": ID, "Warnings": []}))
    daemon.on(f"POST /containers/{ID}/start", reply(204))
    daemon.on("GET /containers/box/json", reply(200, {"Id": ID}))
    daemon.on("POST /containers/box/exec", reply(201, {"Id": "e1"}))
    daemon.on("POST /exec/e1/start", reply(409, {"message": "it has been recorded"}))
    daemon.on("POST /containers/box/update", reply(200, {"Warnings": []}))
    daemon.on("POST /networks/create", reply(201, {"Id": "n1"}))
    daemon.on("POST /networks/net/connect", reply(200))
    daemon.on("POST /networks/net/disconnect", reply(200))
    daemon.on("POST /volumes/create", reply(201, {"Name": "v1"}))
    daemon.on("POST /commit", reply(201, {"Id": "i1"}))
    daemon.on("POST /auth", reply(200, {"Status": "Login Succeeded"}))


def bodies(daemon: Daemon) -> dict[str, Any]:
    return {f"{one.method} {one.path}": one.json() for one in daemon.requests if one.body}


@pytest.mark.parametrize("line", RECORDED)
def test_bodies_are_what_they_were(line: str, daemon: Daemon, corten: Corten) -> None:
    script(daemon)
    corten(*shlex.split(line))
    assert bodies(daemon) == RECORDED[line]
