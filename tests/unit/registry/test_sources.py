"""Where a repository is asked for: mirrors and rules of any registry; proxies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from corten.errors import Invalid
from corten.registry.client.endpoints import Endpoints
from corten.registry.client.proxies import Proxies, from_environment
from corten.registry.client.slots import Slots
from corten.registry.client.sources import Rule, Sources
from corten.spec.reference import parse


def places(*rules: Rule, mirrors: Sequence[str] = (), insecure: Sequence[str] = ()) -> Callable[[str], list[str]]:
    """Where a reference is asked for, as texts; `!` marks the ones that credentials may be sent to."""
    known = Sources(Endpoints(insecure, ()), rules, mirrors)

    def found(text: str) -> list[str]:
        return [
            f"{'!' * bool(place.domain)}{place.endpoint.schemes[0]}://{place.endpoint.host}/{place.path}"
            for place in known.of(parse(text))
        ]

    return found


def test_mirrors_of_docker_hub() -> None:
    found = places(mirrors=["http://mirror.example:5000/"])
    hub = "!https://registry-1.docker.io/library/busybox"
    assert found("busybox") == ["http://mirror.example:5000/library/busybox", hub]
    assert found("quay.io/a/b") == ["!https://quay.io/a/b"]
    for url in ("mirror.example", "ftp://x", "https://", "https://x/path", "https://u:p@x"):
        with pytest.raises(Invalid, match="mirror"):
            places(mirrors=[url])


def test_rules() -> None:
    found = places(
        Rule("docker.io", ("https://cache.lan/hub",)),
        Rule("quay.io", ("http://10.0.0.5:5000", "https://b.example/quay"), only_mirrors=True),
        Rule("quay.io/team", location="registry.lan:5000/official"),
        Rule("*", ("https://any.example",)),
        mirrors=["https://first.example"],
        insecure=["registry.lan:5000"],
    )
    hub = "!https://registry-1.docker.io/library/busybox"
    assert found("busybox:1") == ["https://first.example/library/busybox", "https://cache.lan/hub/library/busybox", hub]
    assert found("quay.io/x/y") == ["http://10.0.0.5:5000/x/y", "https://b.example/quay/x/y"]
    assert found("quay.io/team/app") == ["!https://registry.lan:5000/official/app"]
    assert found("quay.io/teams/app") == ["http://10.0.0.5:5000/teams/app", "https://b.example/quay/teams/app"]
    assert found("ghcr.io/a/b") == ["https://any.example/ghcr.io/a/b", "!https://ghcr.io/a/b"]
    alone = places(Rule("quay.io/a/b", ("https://m.example",), only_mirrors=True))
    with pytest.raises(Invalid, match="leaves no place"):
        alone("quay.io/a/b")


@pytest.mark.parametrize(
    "rule",
    [
        Rule("https://quay.io"),
        Rule("quay.io/"),
        Rule("../x"),
        Rule("quay.io", ("https://x/Upper",)),
        Rule("quay.io", ("https://x/../y",)),
        Rule("quay.io", location="https://x"),
        Rule("quay.io", location="x y"),
        Rule("quay.io", only_mirrors=True),
        Rule(""),
    ],
)
def test_rules_that_cannot_be_followed(rule: Rule) -> None:
    with pytest.raises(Invalid):
        places(rule)


# ------------------------------------------------------------------------------------------------------------ proxies


@pytest.mark.parametrize(
    ("none", "direct", "proxied"),
    [
        ("", ["localhost", "127.0.0.1", "[::1]", "127.9.9.9"], ["a.example", "10.0.0.1"]),
        ("*", ["a.example", "10.0.0.1"], []),
        ("example.com", ["example.com", "a.example.com", "EXAMPLE.com."], ["badexample.com", "example.com.evil"]),
        (".example.com", ["a.example.com"], ["example.com"]),
        ("*.example.com", ["a.example.com"], ["example.com"]),
        ("x, 10.0.0.0/8 ,fd00::/8", ["10.1.2.3", "[fd00::1]"], ["11.0.0.1", "[fe80::1]", "a10.0.0.1"]),
        ("10.0.0.1", ["10.0.0.1"], ["10.0.0.10", "110.0.0.1"]),
        ("a.example:443,[fd00::2]:443", ["a.example", "[fd00::2]"], ["a.example:5000", "[fd00::2]:5000"]),
        ("nonsense/99,:::,[", [], ["a.example"]),
    ],
)
def test_who_is_asked_without_a_proxy(none: str, direct: list[str], proxied: list[str]) -> None:
    proxies = Proxies("http://p:1", "q:2", none)
    for host in direct:
        assert proxies.of(f"https://{host}/v2/") is None, host
    for host in proxied:
        assert proxies.of(f"https://{host}/v2/") == "http://q:2", host


def test_each_scheme_has_its_proxy() -> None:
    proxies = Proxies("http://p:1", "")
    assert (proxies.of("http://a.example/"), proxies.of("https://a.example/")) == ("http://p:1", None)


def test_proxies_of_the_environment() -> None:
    known = from_environment({"HTTP_PROXY": "http://u:secret@p:1", "http_proxy": "http://no:1", "no_proxy": "x"})
    assert (known.http, known.https, known.none) == ("http://u:secret@p:1", "", "x")
    assert known.shown() == ("http://xxxxx:xxxxx@p:1", "", "x")
    for url in ("socks5://x", "http://", "http://x:99999", "ftp://u:secret@x"):
        with pytest.raises(Invalid) as error:
            Proxies(url)
        assert "secret" not in str(error.value)


# -------------------------------------------------------------------------------------------------------------- slots


async def test_slots_whose_number_changes() -> None:
    slots, inside, most, gate = Slots(2), 0, 0, asyncio.Event()

    async def work() -> None:
        nonlocal inside, most
        async with slots:
            inside += 1
            most = max(most, inside)
            try:
                await gate.wait()
            finally:
                inside -= 1

    tasks = [asyncio.create_task(work()) for _ in range(8)]
    await asyncio.sleep(0)
    assert (inside, slots.full()) == (2, True)
    slots.limit = 4
    await asyncio.sleep(0)
    assert inside == 4
    tasks[4].cancel()  # one that waits
    tasks[0].cancel()  # one that is inside
    await asyncio.sleep(0)
    slots.limit = 1
    gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (inside, most, slots.full()) == (0, 4, False)
