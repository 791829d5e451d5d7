"""daemon.json: registries, proxies, types; and what SIGHUP changes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corten.daemon import config, registries
from corten.errors import Invalid
from corten.registry.client.proxies import Proxies
from corten.registry.client.sources import Rule


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., config.Config]:
    """The configuration of a file with this content and these flags."""

    def load_(content: dict[str, Any], *flags: str) -> config.Config:
        (tmp_path / "daemon.json").write_text(json.dumps(content))
        return config.load(["--config-file", str(tmp_path / "daemon.json"), *flags])[0]

    return load_


def test_registries(load: Any) -> None:
    found = registries.settings(
        load(
            {
                "registry-mirrors": ["https://hub.lan"],
                "registries": {
                    "quay.io": {"mirrors": ["http://m:5000/quay"], "only-mirrors": True},
                    "ghcr.io/team": {"location": "registry.lan/team"},
                },
                "max-concurrent-uploads": 9,
                "max-concurrent-downloads": 0,
            },
            "--insecure-registry",
            "10.0.0.0/8",
            "--max-download-attempts",
            "2",
        ),
        {},
    )
    assert found.rules == (
        Rule("quay.io", ("http://m:5000/quay",), "", True),
        Rule("ghcr.io/team", (), "registry.lan/team"),
    )
    assert (found.mirrors, found.insecure) == (("https://hub.lan",), ("10.0.0.0/8",))
    assert (found.downloads, found.uploads, found.attempts) == (3, 9, 2)


def test_proxies(load: Any) -> None:
    outside = {"HTTPS_PROXY": "http://env:1", "NO_PROXY": "env"}
    file = {"proxies": {"http-proxy": "http://file:1", "no-proxy": "file"}}
    assert registries.proxies(load(file), outside) == Proxies("http://file:1", "http://env:1", "file")
    flags = load({}, "--https-proxy", "http://flag:1")
    assert registries.proxies(flags, outside) == Proxies("", "http://flag:1", "env")
    with pytest.raises(Invalid, match="both by flag and in the configuration file: no-proxy"):
        load(file, "--no-proxy", "x")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"registries": {"https://x": {}}}, "neither a registry nor"),
        ({"registries": {"quay.io": {"mirror": []}}}, "unknown keys: mirror"),
        ({"registries": {"quay.io": []}}, "is no object"),
        ({"registries": {"quay.io": {"mirrors": "https://x"}}}, "no list of URLs"),
        ({"registries": {"quay.io": {"mirrors": ["quay.lan"]}}}, "no http:// or https:// URL"),
        ({"registries": {"quay.io": {"only-mirrors": 1}}}, "wrong type"),
        ({"registries": {"quay.io": {"only-mirrors": True}}}, "no mirrors"),
        ({"registry-mirrors": ["https://x/path"]}, "no http:// or https:// URL"),
        ({"insecure-registries": ["10.0.0.0/99"]}, "no network"),
        ({"max-concurrent-downloads": -1}, "invalid max concurrent downloads: -1"),
        ({"proxies": {"http-proxy": "socks5://x"}}, "no http:// or https:// URL"),
        ({"proxies": {"ftp-proxy": "x"}}, "unknown keys: ftp-proxy"),
        ({"proxies": {"http-proxy": 5}}, "no string"),
        ({"registry-mirrors": "https://x"}, "registry-mirrors has a value of the wrong type"),
        ({"debug": "yes"}, "debug has a value of the wrong type"),
        ({"mtu": True}, "mtu has a value of the wrong type"),
        ({"labels": [1]}, "labels has a value of the wrong type"),
        ({"runtimes": {"x": {}}}, "runtime x has no path"),
        ({"runtimes": []}, "runtimes has a value of the wrong type"),
        ({"nonsense": 1}, "unknown keys: nonsense"),
    ],
)
def test_bad_values_are_named(load: Any, content: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words) as error:
        registries.settings(load(content), {})
    assert "\n" not in str(error.value)


def test_what_a_reload_changes(load: Any, tmp_path: Path) -> None:
    running = replace(load({"labels": ["a=1"], "mtu": 1400}), data_root=Path("/elsewhere"))
    flags = ["--config-file", str(tmp_path / "daemon.json")]
    load({"labels": ["a=2"], "mtu": 1300, "debug": True, "shutdown-timeout": 3, "registries": {"x.io": {}}})
    now = config.reloaded(running, flags)
    assert (now.labels, now.debug, now.shutdown_timeout, now.registries) == (("a=2",), True, 3, {"x.io": {}})
    assert (now.mtu, now.data_root) == (1400, Path("/elsewhere"))
    (tmp_path / "daemon.json").write_text("{")
    with pytest.raises(Invalid):
        config.reloaded(running, flags)


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("debug", True, "true"),
        ("mtu", 1400, True),
        ("group", "staff", 1),
        ("pidfile", "/run/cortend.pid", 1),
        ("dns", ["192.0.2.1"], "192.0.2.1"),
        ("labels", ["a=b"], [1]),
        ("default-address-pools", [{"base": "10.0.0.0/8", "size": 24}], ["10.0.0.0/8"]),
        ("log-opts", {"max-size": "1m"}, ["max-size"]),
    ],
)
def test_a_value_has_the_type_of_its_setting(load: Any, key: str, good: Any, bad: Any) -> None:
    load({key: good})
    with pytest.raises(Invalid, match=f"{key} has a value of the wrong type"):
        load({key: bad})


def test_flags_without_effect(load: Any) -> None:
    assert load({"metrics-addr": 1}, "--metrics-addr", "127.0.0.1:1", "--live-restore") == load({})
