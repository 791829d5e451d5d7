"""The keys of every answer, of a dockerd and of us, in old versions of the API: what its clients read has to be there,
and what a version did not have must not."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.clients import Client
from e2e_parts.http import Connection
from e2e_parts.others import archive, layer
from e2e_parts.patience import until

VERSIONS = ("1.24", "1.30", "1.41")
ANSWERS = """
GET /containers/json?all=1
GET /containers/json?all=1&size=1
GET /containers/box/json
GET /containers/box/json?size=1
GET /containers/ended/json
GET /containers/box/top
GET /containers/box/changes
GET /containers/box/stats?stream=0
GET /containers/ended/stats?stream=0
GET /exec/EXEC/json
GET /images/json
GET /images/json?all=1&digests=1
GET /images/keys:1/json
GET /images/keys:1/history
GET /networks
GET /networks/none
GET /networks/host
GET /volumes
GET /volumes/keys
GET /info
GET /version
GET /system/df
GET /events?since=1&until=NOW
POST /containers/ended/wait
POST /containers/box/update {"CpuShares": 512}
POST /containers/box/exec {"Cmd": ["true"]}
POST /containers/prune?filters={"label":["nosuch"]}
POST /images/prune?filters={"label":["nosuch"]}
POST /networks/prune?filters={"label":["nosuch"]}
POST /volumes/prune?filters={"label":["nosuch"]}
POST /volumes/create {"Name": "keys"}
"""

#: Keys of dockerd's that we have not, and why. Each is a regular expression of the whole path.
LACKING = {
    r"GET /containers/\S+json\S*\.GraphDriver\.Data\.\w+": "no directories of this host",
    r"GET /images/keys:1/json\.GraphDriver\.Data\.\w+": "the same",
    r"GET /info\.Runtimes\.[\w.]+": "other runtimes",
    r"GET /version\.Components\[\]\.Details\.\w+": "of another program",
    r"GET /events\S+\.Actor\.Attributes\.\S+": "of events that are compared elsewhere",
    r".+\.(memory_stats\.stats|blkio_stats\.\w+\[\])\.\w+": "what the kernel has counted by now",
}

#: Keys of ours, likewise.
FURTHER = {
    **LACKING,
    r"GET /containers/\S+\.Timing(\..*)?": "an addition",
    r"GET /info\.Guests(\..*)?": "an addition",
    r".+\.SizeRw": "dockerd omits 0",
    r".+\.Labels\.com\.docker\.volume\.anonymous": "came with 1.42; `volume prune` asks for it",
    r"GET /networks\[\]\.\S+": "we have the default bridge there, this dockerd has none",
}


def keys(value: Any, path: str) -> set[str]:
    """Paths of all that is named in it; names that differ from daemon to daemon are ID."""
    found: set[str] = set()
    if isinstance(value, dict):
        for key, each in value.items():
            name = f"{path}.{re.sub('[0-9a-f]{64}', 'ID', key)}"
            found |= {name} | keys(each, name)
    elif isinstance(value, list):
        for each in value:
            found |= keys(each, f"{path}[]")
    return found


class Answers:
    """One daemon's, with a container that runs, one that has ended, a volume and an image."""

    def __init__(self, client: Client) -> None:
        self._client = client
        client("volume", "create", "keys")
        flags = ["--label", "a=b", "-v", "keys:/data", "--tmpfs", "/tmp", "--expose", "80"]
        flags += ["--health-cmd", "true", "--health-interval", "1s"]
        client("run", "-d", "--name", "box", "--network", "none", *flags, "keys:1", "sleep", "1000")
        client("run", "--name", "ended", "--network", "none", "-v", "/data", "keys:1", "true")
        self.exec = self.ask("POST", "1.41", "/containers/box/exec", '{"Cmd": ["sleep", "1000"]}')["Id"]
        self.ask("POST", "1.41", f"/exec/{self.exec}/start", '{"Detach": true}')
        until(lambda: self.ask("GET", "1.41", "/containers/box/json")["State"]["Health"]["Log"])

    def ask(self, method: str, version: str, path: str, body: str = "") -> Any:
        path = path.replace("EXEC", getattr(self, "exec", "")).replace("NOW", str(int(time.time())))
        with Connection(Path(self._client.address.removeprefix("unix://"))) as connection:
            headers = {"Content_Type": "application/json"} if body else {}
            status, answer = connection.ask(method, f"/v{version}{path}", body.encode() or None, **headers)
        assert status < 300, (method, version, path, answer)
        return answer


@pytest.fixture(scope="module")
def both(engines: tuple[Client, Client, Path]) -> tuple[Answers, Answers]:
    *clients, root = engines
    archive(root / "keys.tar", "keys:1", [layer({"file": "text"}, programs=True)], {"Cmd": ["true"]})
    for client in clients:
        client("load", "-i", str(root / "keys.tar"))
    theirs, ours = (Answers(client) for client in clients)
    return theirs, ours


@pytest.mark.parametrize("line", [line for line in ANSWERS.splitlines() if line])
@pytest.mark.parametrize("version", VERSIONS)
def test_keys(both: tuple[Answers, Answers], version: str, line: str) -> None:
    method, path, *body = line.split(" ", 2)
    theirs, ours = (keys(one.ask(method, version, path, *body), f"{method} {path}") for one in both)
    for name, found, allowed in (("lacking", theirs - ours, LACKING), ("further", ours - theirs, FURTHER)):
        left = {key for key in found if not any(re.fullmatch(pattern, key) for pattern in allowed)}
        assert not left, f"{name}: {sorted(left)}"
