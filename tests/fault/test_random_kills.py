"""kill -9 at random times of a stress of creates, starts, execs and removals: nothing is lost, nothing is left.

CORTEN_KILLS says how many; the seed is printed when it fails and taken from CORTEN_SEED.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from e2e_parts.patience import PATIENCE
from fault_parts.fragile import Fragile

KILLS = int(os.environ.get("CORTEN_KILLS", "25"))
_GONE = (OSError, http.client.HTTPException)


@dataclass
class Ledger:
    """What the daemon has acknowledged. A name in neither set was being changed when the daemon was killed."""

    there: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    rounds: int = 0
    wrong: list[str] = field(default_factory=list)


def work(daemon: Fragile, ledger: Ledger, stop: threading.Event, chance: random.Random) -> None:
    while not stop.is_set():
        name = f"k{secrets.token_hex(5)}"
        with contextlib.suppress(*_GONE), daemon.connection() as http:
            body: dict[str, Any] = {"Image": "corten/busybox", "Cmd": ["sh", "-c", "echo hi; sleep 1000"]}
            if chance.random() < 0.5:
                body["HostConfig"] = {"NetworkMode": "none"}
            _expect(ledger, http.ask("POST", f"/containers/create?name={name}", body), 201)
            ledger.there.add(name)
            _expect(ledger, http.ask("POST", f"/containers/{name}/start"), 204)
            if chance.random() < 0.5:
                made = http.ask("POST", f"/containers/{name}/exec", {"Cmd": ["true"]})
                _expect(ledger, made, 201)
                _expect(ledger, http.ask("POST", f"/exec/{made[1]['Id']}/start", {"Detach": True}), 200)
            if chance.random() < 0.8:
                ledger.there.discard(name)
                _expect(ledger, http.ask("DELETE", f"/containers/{name}?force=1"), 204)
                ledger.removed.add(name)
            ledger.rounds += 1
        time.sleep(0.005)


def _expect(ledger: Ledger, answer: tuple[int, object], status: int) -> None:
    if answer[0] != status:
        ledger.wrong.append(f"{answer} instead of {status}")


def test_random_kills(daemon: Fragile) -> None:
    seed = int(os.environ.get("CORTEN_SEED", "0")) or secrets.randbits(32)
    print(f"CORTEN_SEED={seed}")
    chance, ledger, stop = random.Random(seed), Ledger(), threading.Event()
    workers = [threading.Thread(target=work, args=(daemon, ledger, stop, random.Random(seed + n))) for n in range(3)]
    for worker in workers:
        worker.start()
    kills, deadline = 0, time.monotonic() + 150
    try:
        while kills < KILLS or (ledger.rounds <= 5 and time.monotonic() < deadline):  # a busy machine needs more time
            time.sleep(chance.uniform(0.0, 0.5))
            daemon.kill()
            daemon.start()
            kills += 1
    finally:
        stop.set()
        for worker in workers:
            worker.join(PATIENCE)
    assert ledger.rounds > 5, ledger
    assert not ledger.wrong, ledger.wrong
    names = {container["Names"][0][1:]: container for container in daemon.containers()}
    assert ledger.there <= names.keys(), "an acknowledged create is lost"
    assert not ledger.removed & names.keys(), "an acknowledged removal came back"
    for name in ledger.there:
        shown = daemon.inspect(name)
        assert shown["State"]["Status"] in ("running", "created", "exited"), shown["State"]
        assert not shown["State"]["Running"] or daemon.inside(name, "true") == (0, "")
    for name in names.keys() - ledger.there:
        assert daemon.ask("POST", f"/containers/{name}/start")[0] in (204, 304)
