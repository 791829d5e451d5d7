"""Programs before a start, against a client that notes the order of what it is asked."""

from __future__ import annotations

from typing import Any, cast

import pytest

from corten.client.api import Client, version_key
from corten.compose.execute.making import Making
from corten.compose.execute.preparing import Preparing
from corten.compose.model import Hook, Project, Service
from corten.compose.observed import Observed
from corten.compose.plan.operations import Prepare

PROJECT = Project(name="demo", services={"web": Service(name="web", image="web", pre_start=(Hook(command=("true",)),))})
STEP = Prepare(service="web", name="demo-web-1", ref="webid", number=1, hooks=(0,))


class Noting:
    """A `Client` to an engine whose containers end with 0. The wait's connection and its answer are it as well."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.noted: list[str] = []

    def at_least(self, version: str) -> bool:
        return version_key(self.version) >= version_key(version)

    def target(self, path: str, query: object) -> str:
        return path

    def call(self, method: str, path: str, *more: object) -> dict[str, str]:
        self.noted.append(f"{method} {path}")
        return {"Id": "made"}

    def exchange(self, method: str, path: str, *more: object) -> tuple[None, None]:
        self.noted.append(f"{method} {path}")
        return None, None

    def begin(self, method: str, target: str, *more: object) -> Noting:
        self.noted.append(f"{method} {target}")
        return self

    def receive(self, connection: Noting, method: str) -> Noting:
        self.noted.append("the head")
        return self

    def json(self) -> dict[str, Any]:
        return {"StatusCode": 0}

    def close(self) -> None:
        return


@pytest.mark.parametrize(("version", "registered"), [("1.47", True), ("1.29", False)])
def test_an_end_is_waited_for_before_there_is_a_start(version: str, registered: bool) -> None:
    """However short the program is. Before API 1.30 the head of the answer comes with the end."""
    client = Noting(version)
    making = Making(PROJECT, Observed(), _Silent())
    Preparing(making).run(cast(Client, client), STEP, "webid")
    begun = ["the head", "POST /containers/made/start"]
    at = client.noted.index("POST /containers/made/wait")
    assert client.noted[at + 1 :] == [*(begun if registered else begun[::-1]), "DELETE /containers/made"]


class _Silent:
    """A `Report`."""

    def event(self, kind: str, name: str, status: str) -> None:
        return

    def warning(self, text: str) -> None:
        return
