"""Pushes and collections at the same time: an image whose push was acknowledged can be pulled."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import aiohttp

from e2e_parts.patience import PATIENCE
from registry_parts.ageing import age
from registry_parts.own import Own, digest, manifest, own_process

SECONDS = 3.0
LAYERS = [b"layer %d" % at * 1000 for at in range(6)]
COLLECT = [sys.executable, "-m", "corten.registry.server", "gc", "--untagged", "0", "--grace", "30s"]


async def push(own: Own, name: str, layers: list[bytes], dice: random.Random) -> bytes:
    """As clients do: ask, mount, upload what is left."""
    config = json.dumps({"of": [digest(layer) for layer in layers]}).encode()
    for blob in (config, *layers):
        if (await own.ask("HEAD", f"/v2/{name}/blobs/{digest(blob)}")).status == 200:
            continue
        source = f"w{dice.randrange(4)}/r"
        answer = await own.ask("POST", f"/v2/{name}/blobs/uploads/?mount={digest(blob)}&from={source}")
        if answer.status == 202:
            answer = await own.ask("PUT", f"{answer.headers['Location']}?digest={digest(blob)}", blob)
        assert answer.status == 201, answer
    body = manifest(config, *layers)
    answer = await own.push(name, "1", body)
    assert answer.status == 201, answer
    return body


async def pull(own: Own, name: str, body: bytes) -> None:
    answer = await own.ask("GET", f"/v2/{name}/manifests/1")
    assert answer.body == body
    for each in (answer.json["config"], *answer.json["layers"]):
        blob = await own.ask("GET", f"/v2/{name}/blobs/{each['digest']}")
        assert blob.status == 200 and digest(blob.body) == each["digest"], (name, each)


class Both:
    """How far pushes (rounds of each client) and collections (lines of what they said) have come."""

    def __init__(self, clients: int) -> None:
        self.rounds = [0] * clients
        self.said: list[str] = []
        self._begun = time.monotonic()

    def were_at_it(self) -> bool:
        return min(self.rounds) >= 3 and len(self.said) > 10

    def go_on(self) -> bool:
        """For some seconds, and longer on a machine that needs more for that."""
        took = time.monotonic() - self._begun
        return took < SECONDS or (not self.were_at_it() and took < PATIENCE)


async def client(own: Own, root: Path, number: int, both: Both) -> None:
    """Each round finds its old things abandoned long ago, and makes an image of some of them."""
    name, dice = f"w{number}/r", random.Random(number)
    while both.go_on():
        await asyncio.to_thread(age, root, "repositories", f"w{number}")
        await asyncio.to_thread(age, root, "blobs")
        body = await push(own, name, dice.sample(LAYERS, 3), dice)
        await pull(own, name, body)
        if both.rounds[number] % 2:
            assert (await own.ask("DELETE", f"/v2/{name}/manifests/{digest(body)}")).status == 202
        both.rounds[number] += 1


async def collect(root: Path, both: Both) -> None:
    while both.go_on():
        done = await asyncio.to_thread(
            subprocess.run, [*COLLECT, "--root", str(root)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done
        both.said += done.stdout.split()[::2]


async def test_nothing_is_lost(tmp_path: Path) -> None:
    with own_process("--root", str(tmp_path)) as (host, _):
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            own = Own(session, f"http://{host}")
            both = Both(clients=4)
            clients = [client(own, tmp_path, number, both) for number in range(4)]
            await asyncio.gather(collect(tmp_path, both), *clients)
            assert both.were_at_it(), (both.rounds, both.said)
            age(tmp_path)
            last = subprocess.run([*COLLECT, "--root", str(tmp_path)], capture_output=True, text=True, timeout=60)
            assert last.returncode == 0
            for name in (await own.ask("GET", "/v2/_catalog")).json["repositories"]:
                body = await own.ask("GET", f"/v2/{name}/manifests/1")
                if body.status == 200:
                    await pull(own, name, body.body)
