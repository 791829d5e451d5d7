"""The daemon's log driver, in its configuration file and by flag."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corten.daemon.assemble import log_defaults
from corten.daemon.config import Config, load
from corten.daemon.main import main
from corten.errors import Invalid
from corten.plan.bundle import LogDefaults


def read(tmp_path: Path, content: object) -> Config:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps(content))
    return load(["--config-file", str(file)])[0]


@pytest.mark.parametrize(
    "log",
    [
        {"log-driver": "json-file", "log-opts": {"max-size": "10m", "max-file": "3", "labels": "a,b"}},
        {"log-driver": "local", "log-opts": {"max-size": "10m", "compress": "false"}},
        {"log-driver": "none"},
    ],
)
def test_logging(tmp_path: Path, log: dict[str, object]) -> None:
    config = read(tmp_path, log)
    assert config.log_driver == log.get("log-driver", "json-file")
    assert config.log_opts == log.get("log-opts", {})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"log-driver": "syslog"}, "log driver syslog is not supported: json-file, local and none are"),
        ({"log-driver": "nosuch"}, 'plugin "nosuch" not found'),
        ({"log-driver": "local", "log-opts": {"labels": "a"}}, "unknown log opt 'labels' for local log driver"),
        ({"log-opts": {"max-file": "0"}}, "max-file cannot be less than 1"),
        ({"log-opts": {"max-file": 3}}, "log-opts must be texts by name"),
        ({"log-opts": []}, "log-opts has a value of the wrong type"),
        ({"runtimes": {"runc": "/bin/runc"}}, "runtime runc is no object"),
        ({"log-level": "bogus"}, "log-level 'bogus' is none of debug, info, warn, error, fatal"),
        ({"default-ipc-mode": "bogus"}, "default-ipc-mode 'bogus' is none of private, shareable"),
        ({"default-cgroupns-mode": "bogus"}, "default-cgroupns-mode 'bogus' is none of host, private"),
        ({"default-shm-size": "bogus"}, "default-shm-size: "),
        ({"vm-memory": "bogus"}, "vm-memory: "),
        ({"vm-memory": "0"}, "vm-memory: it must be more than nothing"),
        ({"vm-memory": 5}, "vm-memory has a value of the wrong type"),
        ({"vm-kernel": "kernel"}, "vm-kernel must be an absolute path: 'kernel'"),
        ({"vm-template": "no"}, "vm-template has a value of the wrong type"),
        ({"default-ulimits": {"nofile": {"Name": "bogus", "Soft": 1, "Hard": 1}}}, "invalid ulimit type: bogus"),
        ({"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 2, "Hard": 1}}}, "ulimit soft limit must be less"),
        ({"default-ulimits": {"nofile": 5}}, "default-ulimits: json: cannot unmarshal number"),
        ({"live-restore": "yes"}, "live-restore has a value of the wrong type"),
        ({"iptables": 0}, "iptables has a value of the wrong type"),
        ({"dns": ["nosuch"]}, "dns is not an address: 'nosuch'"),
    ],
)
def test_refused(tmp_path: Path, content: object, why: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(tmp_path, content)
    assert why in str(caught.value) and "\n" not in str(caught.value)


def test_by_flag() -> None:
    assert load(["--log-driver", "local", "--log-opt", "max-size=1m"])[0].log_opts == {"max-size": "1m"}
    with pytest.raises(Invalid, match="journald is not supported"):
        load(["--log-driver", "journald"])
    with pytest.raises(Invalid, match="/dev/null/x"):
        load(["--config-file", "/dev/null/x"])


@pytest.mark.parametrize(
    "flag", ["--log-level=bogus", "--default-ipc-mode=bogus", "--live-restore=bogus", "--default-shm-size=bogus"]
)
def test_bad_flags_are_one_line_and_not_ok(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag, "--validate"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("cortend: ") and said.err.count("\n") == 1


def test_the_userland_proxy_can_be_done_without(tmp_path: Path) -> None:
    assert read(tmp_path, {}).userland_proxy and not read(tmp_path, {"userland-proxy": False}).userland_proxy
    assert not load(["--userland-proxy=false"])[0].userland_proxy


@pytest.mark.parametrize(
    ("driver", "options", "expected"),
    [
        ("json-file", {"max-size": "10m", "max-file": "5"}, LogDefaults(10 << 20, 5)),
        ("local", {"max-size": "10m", "max-file": "5"}, LogDefaults(50 << 20, 3)),
        ("none", {}, LogDefaults(50 << 20, 3)),
    ],
)
def test_options_are_those_of_the_daemons_driver(
    tmp_path: Path, driver: str, options: dict[str, str], expected: LogDefaults
) -> None:
    """A container that chooses json-file beside the daemon's "local" has json-file's own defaults."""
    assert log_defaults(read(tmp_path, {"log-driver": driver, "log-opts": options})) == expected
