from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from corten import errors
from corten.api.call import decode_filters
from corten.api.errors import STATUS, status
from corten.api.origin import refuse_browsers
from corten.api.routes import Route, Router
from corten.engine.containers.attach import detach_keys
from corten.errors import Forbidden, Invalid
from corten.spec.docker.signals import number
from corten.tasks.host import table

TCP, UNIX = ("127.0.0.1", 2375), "/run/corten/corten.sock"


def request(address: object = TCP, **headers: str) -> web.BaseRequest:
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    transport = SimpleNamespace(get_extra_info={"sockname": address}.__getitem__)
    return cast(web.BaseRequest, SimpleNamespace(headers=fields, transport=transport))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:2375"},
        {"Host": "localhost:2375"},
        {"Host": "[::1]:2375"},
        {"Host": "[fe80::1]"},
        {"Host": ""},
        {"Host": "10.0.0.1", "Origin": "http://10.0.0.1"},
        {"Host": "named.example:2375"},
        {"Host": "127.0.0.1", "Sec_Fetch_Site": "same-origin"},
    ],
)
def test_allowed(headers: dict[str, str]) -> None:
    refuse_browsers(request(TCP, **headers), ("named.example",))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example:2375"},
        {"Host": "127.0.0.1", "Origin": "http://evil.example"},
        {"Host": "127.0.0.1", "Origin": "null"},
        {"Host": "127.0.0.1", "Origin": "http://[bad"},
        {"Host": "127.0.0.1", "Sec_Fetch_Site": "cross-site"},
        {"Host": "127.0.0.1.evil.example"},
    ],
)
def test_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        refuse_browsers(request(TCP, **headers), ("named.example",))


def test_any_host_on_a_unix_socket() -> None:
    refuse_browsers(request(UNIX, Host="docker.sock"))
    with pytest.raises(Forbidden):
        refuse_browsers(request(UNIX, Host="docker", Origin="http://evil.example"))


async def nothing(call: Any) -> web.StreamResponse:
    raise AssertionError


@pytest.mark.parametrize(
    ("path", "pattern", "parameters"),
    [
        ("/images/json", "/images/json", {}),
        ("/images/a/b/json", "/images/{name:all}/json", {"name": "a/b"}),
        ("/images/host%3A5000%2Fa/json", "/images/{name:all}/json", {"name": "host:5000/a"}),
        ("/images/json/json", "/images/{name:all}/json", {"name": "json"}),
        ("/images/x/", "/images/{name}", {"name": "x"}),
        ("/images/a/b", None, {}),
        ("/images", None, {}),
        ("", None, {}),
        ("*", None, {}),
    ],
)
def test_routes(path: str, pattern: str | None, parameters: dict[str, str]) -> None:
    patterns = ("/images/json", "/images/{name:all}/json", "/images/{name}")
    found = Router([Route("GET", p, nothing) for p in patterns]).find("GET", path)
    assert (found and (found[0].pattern, found[1])) == (pattern and (pattern, parameters))


def test_every_error_has_a_status() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.CortenError)]
    for kind in classes:
        if kind not in (errors.CortenError, errors.StartFailed):
            assert status(kind("x")) == STATUS[kind]
    assert status(errors.StartFailed("x", 127)) == 400
    assert status(errors.StartFailed("x")) == status(ValueError()) == 500


def test_both_spellings_of_filters() -> None:
    assert decode_filters('{"a":["x","y"]}')["a"] == {"x", "y"}
    assert decode_filters('{"a":{"x":true,"y":false}}')["a"] == {"x"}
    assert not decode_filters("")
    for text in ("[]", "{", '{"a":1}', '{"a":[1]}', "[" * 100_000):
        with pytest.raises(Invalid):
            decode_filters(text)


def test_detach_keys() -> None:
    assert detach_keys("") == b"\x10\x11"
    assert detach_keys("ctrl-a,x,ctrl-]") == b"\x01x\x1d"
    for text in ("ctrl-", "ctrl-1", "xx", "a,,b", "é"):
        with pytest.raises(Invalid):
            detach_keys(text)


def test_signals() -> None:
    assert [number(t) for t in ("9", "KILL", "SIGKILL", "sigkill", "rtmin+3")] == [9, 9, 9, 9, 37]
    for text in ("", "0", "65", "SIGFOO", "9x", "-9", "٩"):
        with pytest.raises(Invalid):
            number(text)


def test_table_of_ps() -> None:
    text = "USER PID COMMAND\nroot  1 init\nroot 20 sh -c  'a b'\nbroken\n"
    assert table(text, {"20"}) == (["USER", "PID", "COMMAND"], [["root", "20", "sh -c  'a b'"]])
    with pytest.raises(Invalid):
        table("A B\n1 2\n", {"1"})


def test_tables_that_are_loaded_with_the_first_request() -> None:
    loaded = []

    def later() -> list[Route]:
        loaded.append(1)
        return [Route("GET", "/vms/{id}/json", nothing)]

    router = Router([Route("GET", "/info", nothing)], later={"vms": later})
    assert router.find("GET", "/info") and router.find("GET", "/vmsx/a/json") is None and not loaded
    assert router.find("GET", "/vms/a/json") and router.find("GET", "/vms/a") is None and loaded == [1]
