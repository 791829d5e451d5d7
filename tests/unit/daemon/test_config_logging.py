"""The daemon's log driver, in its configuration file and by flag."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corten.daemon.config import Config, load
from corten.errors import Invalid


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
        ({"log-opts": None}, "log-opts has a value of the wrong type"),
        ({"runtimes": {"runc": "/bin/runc"}}, "runtime runc has no path"),
        ({"dns": ["nosuch"]}, "dns is not an address: 'nosuch'"),
    ],
)
def test_refused(tmp_path: Path, content: object, why: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(tmp_path, content)
    assert why in str(caught.value) and "\n" not in str(caught.value)


def test_by_flag() -> None:
    flags = ["--config-file", "/dev/null"]
    assert load(["--log-driver", "local", "--log-opt", "max-size=1m"])[0].log_opts == {"max-size": "1m"}
    with pytest.raises(Invalid, match="journald is not supported"):
        load(["--log-driver", "journald"])
    with pytest.raises(Invalid, match="/dev/null"):
        load(flags)
