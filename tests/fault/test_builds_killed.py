"""kill -9 of the daemon while an image is built, at each phase: what was done is in the cache, nothing else is left."""

from __future__ import annotations

import io
import os
import tarfile
import threading

from e2e_parts.cortend import IMAGE
from fault_parts.fragile import Fragile, until

DOCKERFILE = f"FROM {IMAGE}\nRUN echo done > /done\nCOPY big /big\nRUN {{}}\n"


def context(dockerfile: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in (("Dockerfile", dockerfile.encode()), ("big", b"b" * 100_000)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def build(daemon: Fragile, body: bytes, said: list[str]) -> None:
    """The answer so far; what came, when the daemon is killed meanwhile."""
    try:
        with daemon.connection() as http:
            http.request("POST", "/build", body)
            answer = http.getresponse()
            while line := answer.readline():
                said.append(line.decode())
    except (OSError, ValueError) as error:
        said.append(str(error))


def left(daemon: Fragile) -> list[str]:
    """Contexts, and writable trees."""
    contexts = daemon.data / "build" / "contexts"
    return sorted(os.listdir(contexts)) if contexts.is_dir() else []


def test_killed_while_a_step_runs(daemon: Fragile) -> None:
    said: list[str] = []
    body = context(DOCKERFILE.format("echo begun; exec sleep 9870"))
    thread = threading.Thread(target=build, args=(daemon, body, said))
    thread.start()
    until(lambda: any("begun" in line for line in said), "the last step runs", 60)
    daemon.kill()
    thread.join(20)
    assert len(left(daemon)) == 1
    daemon.start()
    assert left(daemon) == []
    said = []
    build(daemon, context(DOCKERFILE.format("cat /done")), said)
    text = "".join(said)
    assert text.count("Using cache") == 2 and "Successfully built" in text
    status, answer = daemon.ask("POST", "/build/prune?all=1")
    assert status == 200
    for image in daemon.get("/images/json"):
        if not image["RepoTags"]:
            daemon.ask("DELETE", f"/images/{image['Id']}?force=1")
    assert len(answer["CachesDeleted"]) == 3


def test_killed_while_the_context_comes(daemon: Fragile) -> None:
    body = context(DOCKERFILE.format("true"))
    with daemon.connection() as http:
        http.putrequest("POST", "/build")
        http.putheader("Content-Length", str(len(body)))
        http.endheaders()
        http.send(body[:60_000])
        until(lambda: left(daemon), "the context is being unpacked")
        daemon.kill()
    daemon.start()
    assert left(daemon) == []
