"""kill -9 of the daemon while an image is built, at each phase: what was done is in the cache, nothing else is left."""

from __future__ import annotations

import io
import os
import tarfile
import threading

from e2e_parts.cortend import IMAGE
from e2e_parts.patience import PATIENCE
from fault_parts.fragile import Fragile, until

DOCKERFILE = f"FROM {IMAGE}\nRUN echo done > /done\nCOPY big /big\nRUN {{}}\n"


_LAST = 64 << 20  # bytes of a file that takes a moment to be packed


def context(dockerfile: str, files: int = 0) -> bytes:
    buffer = io.BytesIO()
    many = [(f"many/{number % 7}/{number}", b"%d" % number) for number in range(files)]
    many += [("many/last", os.urandom(_LAST))] if files else []
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in (("Dockerfile", dockerfile.encode()), ("big", b"b" * 100_000), *many):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def archive(size: int) -> bytes:
    """Of one file."""
    info = tarfile.TarInfo("file")
    info.size = size
    return info.tobuf() + bytes(size + -size % 512 + 1024)


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
    thread.join(PATIENCE)
    assert len(left(daemon)) == 1
    daemon.start()
    until(lambda: not left(daemon), "what was left is removed", 60)
    said = []
    build(daemon, context(DOCKERFILE.format("cat /done")), said)
    text = "".join(said)
    assert text.count("Using cache") == 2 and "Successfully built" in text
    assert len(remove_builds(daemon)) == 3


def remove_builds(daemon: Fragile) -> list[str]:
    """What there was of the cache."""
    status, answer = daemon.ask("POST", "/build/prune?all=1")
    assert status == 200
    for image in daemon.get("/images/json"):
        if not image["RepoTags"]:
            daemon.ask("DELETE", f"/images/{image['Id']}?force=1")
    return list(answer["CachesDeleted"] or ())


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
    until(lambda: not left(daemon), "what was left is removed", 60)


def test_killed_while_files_of_the_context_are_taken(daemon: Fragile) -> None:
    """They are the layer's and the context's at the same time: neither is left, and the image has all of them."""
    body = context(f"FROM {IMAGE}\nCOPY many /many\nCMD test $(find /many -type f -links 1 | wc -l) = 501\n", 500)
    trees = daemon.data / "snapshots"
    recorded = sorted(os.listdir(trees))
    while not _killed_in_the_middle(daemon, body):  # this process came too late
        daemon.start()
        remove_builds(daemon)
    daemon.start()
    until(lambda: not left(daemon), "what was left is removed", 60)
    until(lambda: sorted(os.listdir(trees)) == recorded, "no tree is left")
    said: list[str] = []
    build(daemon, body, said)
    assert "Successfully built" in "".join(said)
    image = "".join(said).partition("Successfully built ")[2][:12]
    status, made = daemon.ask("POST", "/containers/create", {"Image": image})
    assert status == 201, made
    daemon.ask("POST", f"/containers/{made['Id']}/start")
    assert daemon.ask("POST", f"/containers/{made['Id']}/wait")[1]["StatusCode"] == 0
    daemon.ask("DELETE", f"/containers/{made['Id']}")
    daemon.ask("DELETE", f"/images/{image}?force=1")
    daemon.ask("POST", "/build/prune?all=1")


def _killed_in_the_middle(daemon: Fragile, body: bytes) -> bool:
    """Whether the last file was taken, and its layer not made yet, when the daemon was killed."""

    def taken() -> bool:
        return bool(list((daemon.data / "build/contexts").glob("*/draft-*/many/last")))

    thread = threading.Thread(target=build, args=(daemon, body, list[str]()))
    thread.start()
    until(lambda: taken() or not thread.is_alive(), "the last file is taken")
    daemon.kill()
    thread.join(PATIENCE)
    return taken()


def test_killed_while_a_cache_mount_is_imported(daemon: Fragile) -> None:
    """Of one that is new, and of one that takes another's place: what was there stays, and nothing else."""
    place = daemon.data / "build" / "cache"

    def there() -> list[tuple[str, int]]:
        return [(cache["ID"], cache["Size"]) for cache in daemon.get("/build/caches")]

    with daemon.connection() as http:
        http.request("PUT", "/build/caches/tar?id=kept", archive(1000))
        assert http.getresponse().status == 201
    for id, replace in (("kept", 1), ("other", 0)):
        body = archive(8 << 20)
        with daemon.connection() as http:
            http.putrequest("PUT", f"/build/caches/tar?id={id}&replace={replace}")
            http.putheader("Content-Length", str(len(body)))
            http.putheader("Content-Type", "application/x-tar")
            http.endheaders()
            http.send(body[: 4 << 20])
            until(lambda: [path for path in place.glob("*/*/fs/file") if path.stat().st_size > 1000], "files come")
            daemon.kill()
        daemon.start()
        assert there() == [("kept", 1000)]
        assert len(list(place.glob("*/*"))) == 1
    assert daemon.ask("DELETE", "/build/caches?id=kept")[0] in (200, 204)
