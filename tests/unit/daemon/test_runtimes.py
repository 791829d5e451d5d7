"""Runtimes of daemon.json: what dockerd and nvidia's tool write there."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from corten.daemon import config, runtimes
from corten.errors import Invalid
from corten.plan.runtimes import OWN_NAMES, OciRuntime, find, names, shown


def loaded(tmp_path: Path, content: Any, *flags: str) -> config.Config:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps(content))
    return config.load(["--config-file", str(file), *flags])[0]


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"path": "/usr/sbin/runc"}, OciRuntime("/usr/sbin/runc")),
        ({"args": [], "path": "nvidia-container-runtime"}, OciRuntime("nvidia-container-runtime")),
        ({"path": "runsc", "runtimeArgs": ["--debug", "-x"]}, OciRuntime("runsc", ("--debug", "-x"))),
        ({"runtimeType": "io.containerd.runc.v2", "options": {"BinaryName": "crun"}}, OciRuntime("crun")),
        ({"runtimeType": "io.containerd.runc.v2"}, OciRuntime("runc")),
    ],
)
def test_entries(tmp_path: Path, entry: Any, found: OciRuntime) -> None:
    assert loaded(tmp_path, {"runtimes": {"x": entry}}).runtimes == {"x": found}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"path": "bin/runc"}, "runtime x: 'bin/runc' is neither an absolute path nor a name in PATH"),
        ({"path": ""}, "runtime x has no path"),
        ({"path": "/r", "runtimeArgs": "--debug"}, "runtime x: runtimeArgs is no list of texts"),
        ({"runtimeType": "io.containerd.kata.v2"}, "runtime x: runtimeType 'io.containerd.kata.v2' is not supported"),
        ({"runtimeType": "io.containerd.runc.v2", "options": {"Root": "/r"}}, "runtime x: unknown options: Root"),
        ({"path": "/r", "options": ["a"]}, "runtime x: options is no object"),
    ],
)
def test_entries_that_are_refused(tmp_path: Path, entry: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        loaded(tmp_path, {"runtimes": {"x": entry}})


def test_flags(tmp_path: Path) -> None:
    flags = ["--add-runtime", "a=/bin/a", "--add-runtime", "b=b"]
    assert loaded(tmp_path, {}, *flags).runtimes == {"a": OciRuntime("/bin/a"), "b": OciRuntime("b")}
    with pytest.raises(Invalid, match="neither an absolute path"):
        loaded(tmp_path, {}, "--add-runtime", "a=x/a")


@pytest.mark.parametrize("name", OWN_NAMES)
def test_our_own_by_dockerd_s_names(tmp_path: Path, name: str) -> None:
    assert loaded(tmp_path, {"default-runtime": name}).default_runtime == name
    assert not find(name, {}).external
    other = {name: OciRuntime("/usr/sbin/runc")}
    assert find(name, other) == other[name] and find(name, other).external
    assert name in names({}) and shown({})[name] == {"path": "corten-oci"}


def test_names_are_looked_up_in_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    binary = tmp_path / "some-runtime"
    binary.write_text("")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        found = runtimes.located({"a": OciRuntime("some-runtime", ("-x",)), "b": OciRuntime("nosuch")})
    assert found == {"a": OciRuntime(str(binary), ("-x",)), "b": OciRuntime("nosuch")}
    assert find("a", found).path == str(binary)
    with pytest.raises(Invalid, match="runtime b: nosuch is not in the daemon's PATH"):
        find("b", found)
    assert caplog.messages == ["runtime b: nosuch is not in PATH; containers that ask for it will not start"]
    assert shown(found)["a"] == {"path": str(binary), "runtimeArgs": ["-x"]}
    with pytest.raises(Invalid, match="unknown or invalid runtime name: c"):
        find("c", found)
