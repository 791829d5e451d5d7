"""daemon.json: registries, proxies, types; and what SIGHUP changes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corten.daemon import config, facts, main, registries, without_effect
from corten.errors import Invalid, Unsupported
from corten.plan.validate.logging import max_size
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


@pytest.mark.parametrize(
    ("content", "flags", "named"),
    [
        ({"live-restore": True, "iptables": True, "storage-opts": []}, (), ()),
        ({"exec-opts": ["native.cgroupdriver=cgroupfs"], "features": {}, "log-format": "text"}, (), ()),
        ({"live-restore": False, "iptables": False}, (), ("iptables", "live-restore")),
        ({"exec-opts": ["native.cgroupdriver=systemd"]}, (), ("exec-opts",)),
        ({"storage-opts": ["size=1G"], "features": {"buildkit": True}}, (), ("features", "storage-opts")),
        ({}, ("--live-restore", "--selinux-enabled", "--exec-opt", "x=y"), ("exec-opt", "selinux-enabled")),
        ({"tls": True}, (), ("tls (without tlsverify)",)),
        ({"fixed-cidr-v6": "fd00:1::/64"}, (), ("fixed-cidr-v6 (without ipv6)",)),
        ({"fixed-cidr-v6": "fd00:1::/64", "ipv6": True}, (), ()),
    ],
)
def test_what_has_no_effect_is_warned_about_by_name(
    load: Any, content: dict[str, Any], flags: tuple[str, ...], named: tuple[str, ...]
) -> None:
    found = load(content, *flags)
    assert found.without_effect == named
    assert found.warnings == tuple(f"WARNING: the setting {name} has no effect" for name in named)


@pytest.mark.parametrize("name", ["authorization-plugin", "metrics-addr"])
def test_what_a_machine_may_depend_on_is_refused(load: Any, name: str) -> None:
    with pytest.raises(Unsupported, match=f"{name} is not supported"):
        load({}, f"--{name}", "x")
    key = {"authorization-plugin": "authorization-plugins"}.get(name, name)
    with pytest.raises(Unsupported, match=f"{key} is not supported"):
        load({key: ["x"]})
    assert load({key: []}).without_effect == ()


def test_validate_says_what_has_no_effect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "daemon.json").write_text('{"live-restore": false}')
    assert main.main(["--validate", "--config-file", str(tmp_path / "daemon.json")]) == 0
    assert capsys.readouterr() == ("configuration OK\n", "WARNING: the setting live-restore has no effect\n")


@pytest.mark.parametrize("content", [b"", b" \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf{}"])
def test_empty_files_and_byte_order_marks(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "daemon.json").write_bytes(content)
    assert config.load(["--config-file", str(tmp_path / "daemon.json")])[0] == config.Config()


@pytest.mark.parametrize("value", [None, ""])
def test_what_has_no_value_is_not_set(load: Any, value: str | None) -> None:
    """Every key of dockerd's is in the example of its documentation, most of them so."""
    names = [setting.name.replace("_", "-") for setting in config.SETTINGS]
    assert load(dict.fromkeys([*names, *without_effect.KEYS], value)) == config.Config()


@pytest.mark.parametrize(
    "content",
    [
        {"allow-nondistributable-artifacts": ["registry.example:5000"]},
        {"bridge-accept-fwmark": "0x1/0x1"},
        {"containerd-plugin-namespace": "docker-plugins"},
        {"node-generic-resources": ["NVIDIA-GPU=UUID1"]},
    ],
)
def test_values_of_what_has_no_effect(load: Any, content: dict[str, Any]) -> None:
    assert load(content).without_effect == tuple(content)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_bytes(b"\xff\xfe{\0}\0")
    with pytest.raises(Invalid, match=r"daemon.json: 'utf-8' codec"):
        config.load(["--config-file", str(tmp_path / "daemon.json")])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"host-gateway-ip": "x"}, "host-gateway-ip is not an address"),
        ({"default-gateway": "10.0.0.9"}, "default-gateway needs bip"),
        ({"default-gateway": "10.0.1.9", "bip": "10.0.0.1/24"}, "default-gateway 10.0.1.9 is not in the subnet of bip"),
        ({"default-gateway": "x", "bip": "10.0.0.1/24"}, "default-gateway: 'x' does not appear"),
        ({"default-gateway-v6": "fd00::9"}, "default-gateway-v6 needs fixed-cidr-v6"),
        ({"fixed-cidr-v6": "10.0.0.0/24"}, "fixed-cidr-v6 is no IPv6 subnet"),
        ({"fixed-cidr-v6": "x"}, "x"),
        ({"default-network-opts": {"bridge": ["a"]}}, "default-network-opts of bridge"),
        ({"min-api-version": "1.23"}, "min-api-version 1.23 is not from 1.24 to"),
        ({"min-api-version": "1.99"}, "min-api-version 1.99 is not from 1.24 to"),
        ({"min-api-version": "new"}, "min-api-version is no API version"),
    ],
)
def test_bad_values_of_networks_and_the_api(load: Any, content: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        load(content)


def test_options_of_new_networks_by_flag(load: Any) -> None:
    flags = ["--default-network-opt", "bridge=a=1", "--default-network-opt", "bridge=b=2=3"]
    assert load({}, *flags).default_network_opts == {"bridge": {"a": "1", "b": "2=3"}}


@pytest.mark.parametrize(("text", "size"), [("1KiB", 1024), ("1.5 g", 3 << 29), ("2MB", 2 << 20), ("1kk", None)])
def test_sizes_have_one_grammar(load: Any, text: str, size: int | None) -> None:
    for content in (
        {"default-shm-size": text},
        {"log-opts": {"max-size": text}},
        {"image-gc": {"keep-bytes": text}},
        {"image-gc": {"free-space": text}},
    ):
        if size is None:
            with pytest.raises(Invalid):
                load(content)
        else:
            load(content)
    if size is not None:
        assert (facts._shm_size(text), max_size(text)) == (size, size)


def test_an_empty_control_group_is_the_default(load: Any) -> None:
    """As dockerd has it, and people's files say it."""
    assert load({"cgroup-parent": ""}).cgroup_parent == load({}).cgroup_parent == "/corten"
    with pytest.raises(Invalid, match="must be an absolute path"):
        load({"cgroup-parent": "a/b"})
