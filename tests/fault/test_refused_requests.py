"""Every route, refused and left at once: afterwards there are the descriptors and the processes that were before."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from corten.api.routes import Route
from corten.api.server import _TABLES, _builds, _secrets
from corten.tasks import namespaces
from e2e_parts.cortend import IMAGE
from e2e_parts.http import Connection
from fault_parts.fragile import Fragile, until

ROUTES = [route for table in (*_TABLES, _builds(), _secrets()) for route in table]
TIMES = 3
Held = Counter[str]
Running = tuple[Fragile, str, Held]
#: What may be done all the same, and then changes the container for the routes that follow.
_ELSEWHERE = tuple(f"/containers/{{id}}/{verb}" for verb in ("pause", "unpause", "start", "restart", "stop", "kill"))
_NETWORK = ("/images/{name:all}/push", "/distribution/{name:all}/json")
BAD = "?filters={bad&path=&t=x&signal=x&limit=x&h=x&w=x&since=x&until=x&term=&size=x&condition=x&reference=!&fromSrc=-"


@pytest.fixture(scope="module")
def running(standing: Fragile) -> Iterator[Running]:
    id = standing.run("sleep", "1000")
    assert standing.inside(id, "true") == (0, "")
    for what in ("archive?path=/etc/hostname", "changes"):  # whatever is made once and kept
        with standing.connection() as http:
            http.request("GET", f"/containers/{id}/{what}")
            http.getresponse().read()
    standing.ask("POST", "/build", b"no tar")
    until(lambda: held(standing)["net:"] == namespaces.SPARE, "network namespaces are kept ready")
    last = held(standing)
    while (now := held(standing)) != last:  # connections that are about to be closed
        last = now
    yield standing, id, now
    standing.remove_everything()


def held(daemon: Fragile) -> Held:
    """Kinds of the daemon's descriptors, and its launcher's children, by how many there are."""
    found = Counter[str]()
    for fd in os.listdir(f"/proc/{daemon.pid}/fd"):
        with suppress(FileNotFoundError):  # closed since
            found[os.readlink(f"/proc/{daemon.pid}/fd/{fd}").split("[")[0]] += 1
    children = Path(f"/proc/{daemon.launcher}/task/{daemon.launcher}/children").read_text().split()
    found["children"] = len(children)
    return found


def path_of(route: Route, id: str) -> str:
    pattern = route.pattern
    gone = pattern in (*_ELSEWHERE, *_NETWORK) or route.method == "DELETE"
    for name in ("{id}", "{name:all}", "{name}"):
        thing = "nosuch" if gone or "volumes" in pattern or "networks" in pattern or "exec" in pattern else id
        pattern = pattern.replace(name, thing if "containers" in pattern else "nosuch" if gone else IMAGE)
    return pattern


def unchanged(before: Held, daemon: Fragile, what: str) -> None:
    """Not more than before: what is made ahead, or closed a moment later, may have been counted there."""

    def more() -> Held:
        return held(daemon) - before

    until(lambda: not more(), f"{what} leaves {more()}", 25)


def refused(daemon: Fragile, route: Route, id: str) -> None:
    with Connection(daemon.socket) as http:
        http.request(route.method, path_of(route, id) + BAD, b"{bad", {"Content-Type": "application/json"})
        with suppress(ConnectionResetError):  # what is taken out of HTTP is closed, whatever the client has sent
            answer = http.getresponse()
            if not route.stream or answer.status >= 400:
                answer.read()


def left(daemon: Fragile, route: Route, id: str) -> None:
    """The client goes when it has sent the head, or a part of a body."""
    for body in (b"", b"400\r\n" + bytes(1024) + b"\r\n"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(daemon.socket))
            head = f"{route.method} {path_of(route, id)}?path=/tmp&stdout=1&stream=1&fromSrc=-&t=1"
            chunked = "Transfer-Encoding: chunked\r\n" if route.method in ("PUT", "POST") else ""
            client.sendall(f"{head} HTTP/1.1\r\nHost: d\r\n{chunked}\r\n".encode() + (body if chunked else b""))


@pytest.mark.parametrize("ask", [refused, left])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.pattern}")
def test_nothing_is_left_behind(running: Running, route: Route, ask: Callable[[Fragile, Route, str], None]) -> None:
    daemon, id, before = running
    for _ in range(TIMES):
        ask(daemon, route, id)
    unchanged(before, daemon, f"{route.method} {route.pattern}")


@pytest.mark.parametrize("path", ["", "?path=", "?path=" + "x" * 5000, "?path=/nosuch", "?path=/etc/hostname"])
def test_a_copy_into_a_container_that_is_refused(running: Running, path: str) -> None:
    daemon, id, before = running
    for _ in range(TIMES):
        assert daemon.ask("PUT", f"/containers/{id}/archive{path}", b"no tar" * 1000)[0] in (400, 404)
    unchanged(before, daemon, path)
