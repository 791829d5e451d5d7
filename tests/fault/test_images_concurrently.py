"""Everything that makes and removes images, at the same time: nothing in use is lost, nothing unused is kept."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.clients import CORTEN, Client
from e2e_parts.cortend import Cortend, short_root
from e2e_parts.others import archive, layer, need, registry
from e2e_parts.patience import PATIENCE, until

SECONDS = 4.0
IMAGES = 4
WANTED = {"pull", "load", "rmi", "prune", "gc", "create", "start", "commit", "check"}
ALLOWED = {200, 201, 204, 404, 409}  # gone meanwhile, or in use: anything else is a fault of ours


class Storm:
    """Threads that each do one thing again and again until the time is up and all was done; what they were answered."""

    def __init__(self, daemon: Cortend, host: str, archives: list[bytes]) -> None:
        self.daemon, self.host, self.archives = daemon, host, archives
        self.begun = time.monotonic()
        self.answers: Counter[tuple[str, int]] = Counter()
        self.bad: list[str] = []

    def run(self) -> None:
        works = [self.pull, self.pull, self.load, self.remove, self.prune, self.contain, self.contain, self.collect]
        works.append(self.check)
        threads = [threading.Thread(target=self._again, args=(work, seed)) for seed, work in enumerate(works)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()

    def lacking(self) -> set[str]:
        """What has not been done once."""
        return WANTED - {what for what, status in [*self.answers] if status < 300}

    def _goes_on(self) -> bool:
        took = time.monotonic() - self.begun
        return not self.bad and (took < SECONDS or (bool(self.lacking()) and took < PATIENCE))

    def _again(self, work: Callable[[random.Random], None], seed: int) -> None:
        chance = random.Random(seed)
        while self._goes_on():
            try:
                work(chance)
            except Exception as error:  # reported by the test, which cannot see this thread's
                self.bad.append(f"{work.__name__}: {error!r}")

    def ask(self, what: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        status, answer = self.daemon.ask(method, path, body)
        self.answers[(what, status)] += 1
        if status not in ALLOWED:
            self.bad.append(f"{method} {path}: {status} {answer}")
        return status, answer

    def name(self, chance: random.Random) -> str:
        return f"{self.host}/storm/app:{chance.randrange(IMAGES)}"

    def pull(self, chance: random.Random) -> None:
        _, answer = self.ask("pull", "POST", f"/images/create?fromImage={self.name(chance)}")
        lines = answer.splitlines() if isinstance(answer, str) else [json.dumps(answer)]
        errors = [line for line in lines if '"error"' in line]
        if errors:
            self.bad.append(f"pull: {errors}")

    def load(self, chance: random.Random) -> None:
        with self.daemon.connection() as connection:
            status, answer = connection.ask(
                "POST", "/images/load", chance.choice(self.archives), **{"Content-Type": "application/x-tar"}
            )
        self.answers[("load", status)] += 1
        if status != 200 or '"error"' in json.dumps(answer):
            self.bad.append(f"load: {status} {answer}")

    def remove(self, chance: random.Random) -> None:
        self.ask("rmi", "DELETE", f"/images/{self.name(chance)}?force={chance.randrange(2)}")

    def prune(self, chance: random.Random) -> None:
        everything = chance.randrange(4) == 0
        filters = json.dumps({"dangling": ["false" if everything else "true"]})
        self.ask("prune", "POST", f"/images/prune?filters={filters}")
        time.sleep(0.1 * chance.random())

    def collect(self, chance: random.Random) -> None:
        self.ask("gc", "POST", '/images/gc?policy={"max-age":"300ms","keep-images":"1"}')
        time.sleep(0.3 * chance.random())

    def check(self, chance: random.Random) -> None:
        """What is under way is no fault."""
        _, answer = self.ask("check", "POST", "/system/check?repair=1")
        report = json.loads(answer.splitlines()[-1])
        if "aux" not in report or report["aux"]["Problems"]:
            self.bad.append(f"check: {report.get('aux', report)}")
        time.sleep(0.2 * chance.random())

    def contain(self, chance: random.Random) -> None:
        """A container that runs, and is committed: its image must be whole as long as it lives."""
        image = self.name(chance)
        status, made = self.ask(
            "create", "POST", "/containers/create", {"Image": image, "HostConfig": {"NetworkMode": "none"}}
        )
        if status != 201:
            return
        id = made["Id"]
        assert self.ask("start", "POST", f"/containers/{id}/start")[0] == 204
        assert self.ask("wait", "POST", f"/containers/{id}/wait")[1]["StatusCode"] == 0
        if chance.randrange(2):
            status, _ = self.ask(
                "commit", "POST", f"/commit?container={id}&repo=storm/made&tag={chance.randrange(3)}", {}
            )
        assert self.ask("rm", "DELETE", f"/containers/{id}?force=1")[0] == 204


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[Cortend, str, list[bytes]]]:
    need("docker-registry")
    with short_root() as root, Cortend(root) as daemon, registry(tmp_path / "registry") as host:
        daemon.start()
        client = Client("corten", CORTEN, daemon.address, root)
        base = layer({"etc/base": "base\n" * 50}, programs=True)
        archives = []
        for number in range(IMAGES):
            path, name = tmp_path / f"{number}.tar", f"{host}/storm/app:{number}"
            layers = [base, *(layer({f"etc/{step}": f"{step}\n" * 2000}) for step in range(number))]
            archive(path, name, layers, {"Cmd": ["cat", "/etc/base"]})
            client("load", "-q", "-i", str(path))
            client("push", "-q", name)
            archives.append(path.read_bytes())
        yield daemon, host, archives


def test_nothing_is_lost_and_nothing_is_kept(world: tuple[Cortend, str, list[bytes]]) -> None:
    daemon, host, archives = world
    client = Client("corten", CORTEN, daemon.address, daemon.root)
    storm = Storm(daemon, host, archives)
    storm.run()
    assert storm.bad == []
    assert not storm.lacking(), storm.answers
    client("image", "gc")  # what only a save or a push held a moment ago
    report = client("system", "check", "--deep", code=None)
    assert "nothing is wrong" in report.out, report.out
    for number in range(IMAGES):  # what is listed runs
        name = f"{host}/storm/app:{number}"
        if client.out("images", "-q", name):
            assert client.out("run", "--rm", "--network", "none", name).startswith("base")
    client("image", "prune", "-af")

    def left() -> list[Path]:
        trees = [path for path in (daemon.data / "snapshots").iterdir() if path.name != ".trash"]
        return [*(daemon.data / "content").glob("*/*/*"), *trees]

    until(left, lambda paths: not paths)  # trees of containers are erased behind the answers
    assert list((daemon.data / "content/ingest").iterdir()) == []
