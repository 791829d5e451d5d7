"""The key `cri` of daemon.json, which two programs read."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from corten.cri import config as face
from corten.daemon import config, cri, kubernetes
from corten.daemon.sockets import Listener
from corten.errors import Invalid
from corten.tasks.launcher import Launcher


def write(tmp_path: Path, **values: object) -> str:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({"cri": {key.replace("_", "-"): value for key, value in values.items()}}))
    return str(path)


def test_both_read_it(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        socket="/a/cri.sock",
        daemon="unix:///a/s",
        streaming_port=8080,
        cni_conf_dir="/a",
        cni_bin_dir="/b:/c",
        start=True,
        cni_gc=False,
        cluster_cidr="10.78.0.0/16, fd00:78::/48",
    )
    assert config.load(["--config-file", path])[0].cri["cni-bin-dir"] == "/b:/c"
    assert [str(each) for each in cri.cluster(config.load(["--config-file", path])[0].cri)] == [
        "10.78.0.0/16",
        "fd00:78::/48",
    ]
    found = face.load(["--config-file", path, "--socket", "/b/cri.sock"])
    assert (found.socket, found.daemon, found.port) == (Path("/b/cri.sock"), "/a/s", 8080), "flags go before the file"
    assert set(face.KEYS) == set(cri.OTHERS)


@pytest.mark.parametrize(
    "values",
    [
        {"unknown": 1},
        {"cni_conf_dir": "a"},
        {"cni_bin_dir": "/a:b"},
        {"cni_bin_dir": 5},
        {"start": 1},
        {"cluster_cidr": 5},
        {"cluster_cidr": "10.0.0.0"},
        {"cluster_cidr": "10.0.0.0/8,x/8"},
    ],
)
def test_what_cannot_be(tmp_path: Path, values: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="cri: "):
        config.load(["--config-file", write(tmp_path, **values)])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--streaming-port", "70000"],
        ["--socket", "relative"],
        ["-H", "tcp://x:1"],
        ["--socket", f"/{'x' * 107}"],
        ["--config-file", "/no/file"],
    ],
)
def test_what_the_face_refuses(arguments: list[str], tmp_path: Path) -> None:
    own = [] if "--config-file" in arguments else ["--config-file", write(tmp_path)]
    with pytest.raises(Invalid):
        face.load([*arguments, *own])


def test_a_face_that_the_daemon_starts_needs_a_unix_socket_of_it(tmp_path: Path) -> None:
    found = config.load(["--config-file", write(tmp_path, start=True)])[0]
    launcher = Launcher(tmp_path / "launcher.log")
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        with pytest.raises(Invalid, match="needs a unix socket"):
            kubernetes.configured(found, launcher, [Listener("tcp://127.0.0.1:1", tcp)])
        kubernetes.configured(found, launcher, [Listener("fd://3", unix)])  # systemd's
        long = config.load(["--config-file", write(tmp_path, start=True, socket=f"/{'x' * 107}")])[0]
        with pytest.raises(Invalid, match="at most 107 bytes"):
            kubernetes.configured(long, launcher, [Listener("fd://3", unix)])


def test_the_face_refuses_what_is_no_configuration(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"cri": 1}', '{"cri": {"unknown": 1}}', '{"cri": {"socket": []}}'):
        (tmp_path / "daemon.json").write_text(text)
        with pytest.raises(Invalid):
            face.load(["--config-file", str(tmp_path / "daemon.json")])


def test_a_daemon_without_pods_and_machines_has_loaded_nothing_of_them() -> None:
    code = "import sys, corten.daemon.main; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in run.stdout.split() if name.startswith("corten.")}
    assert "corten.api.containers" in loaded
    parts = (
        "corten.api.pods",
        "corten.cri",
        "corten.daemon.kubernetes",
        "corten.engine.pods",
        "corten.plan.pods",
        "corten.spec.protobuf.cri",
        "corten.api.machines",
        "corten.machines",
    )
    assert not [name for name in loaded if name.startswith(parts)]
