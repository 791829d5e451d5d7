"""`--device vendor.com/class=name` and `--gpus`, by CDI files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from e2e_parts.clients import Client, available, execute
from e2e_parts.cortend import IMAGE, Cortend

NULL = {"path": "/dev/mine", "hostPath": "/dev/null", "permissions": "r"}


@pytest.fixture(scope="module", params=["docker", "corten"])
def cdi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    known = available()
    if request.param not in known:
        pytest.skip("no docker client (Debian package docker.io)")
    root = tmp_path_factory.mktemp("cdi")
    files = root / "files"
    files.mkdir()
    (root / "library").write_text("by the vendor\n")
    mount = {"hostPath": str(root / "library"), "containerPath": "/usr/lib/vendor/it", "options": ["ro", "bind"]}
    everything = {"env": ["DEVICE=first"], "deviceNodes": [NULL], "mounts": [mount], "additionalGids": [4711]}
    hook = {"hookName": "createContainer", "path": "/bin/true"}
    document = {
        "cdiVersion": "0.8.0", "kind": "vendor.com/class", "containerEdits": {"env": ["VENDOR=1"]},
        "devices": [{"name": "first", "containerEdits": everything},
                    {"name": "hooked", "containerEdits": {"hooks": [hook]}}],
    }  # fmt: skip
    (files / "vendor.json").write_text(json.dumps(document))
    (files / "gpu.yaml").write_text(
        "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: all\n  containerEdits:\n    env: [GPU=all]\n"
    )
    daemon = Cortend(root, "--cdi-spec-dir", str(files))
    daemon.start()
    client = Client(request.param, known[request.param], daemon.address, root)
    try:
        yield client
    finally:
        client.close()
        daemon.remove_everything()
        daemon.stop()


def test_a_device_brings_nodes_mounts_environment_and_groups(cdi: Client) -> None:
    look = "echo $VENDOR $DEVICE; cat /usr/lib/vendor/it; stat -c %t:%T /dev/mine; id -G; touch /usr/lib/vendor/it"
    done = cdi("run", "--rm", "--device", "vendor.com/class=first", IMAGE, "sh", "-c", look, code=1)
    assert done.out.splitlines()[:3] == ["1 first", "by the vendor", "1:3"]
    assert "4711" in done.out.splitlines()[3].split() and "Read-only file system" in done.err
    assert cdi.out("run", "--rm", IMAGE, "sh", "-c", "echo $VENDOR; ls /dev/mine 2>&1 | grep -c 'No such'") == "\n1"


def test_gpus_are_cdi_devices(cdi: Client) -> None:
    assert cdi.out("run", "--rm", "--gpus", "all", IMAGE, "sh", "-c", "echo $GPU") == "all"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--device", "vendor.com/class=hooked"), "has hooks (createContainer), which are not supported"),
        (("--device", "vendor.com/class=absent"), "unresolvable CDI devices vendor.com/class=absent"),
        (("--gpus", "2"), "unresolvable CDI devices nvidia.com/gpu=0"),
    ],
)
def test_what_cannot_be_had_fails_the_start(cdi: Client, flags: tuple[str, str], words: str) -> None:
    done = cdi("run", "--rm", *flags, IMAGE, "true", code=125)
    assert words in done.err
    assert cdi.out("ps", "-aq") == ""


def test_what_is_recorded(cdi: Client) -> None:
    id = cdi.out("create", "--device", "vendor.com/class=first", IMAGE, "true")
    shown = json.loads(cdi.out("inspect", "-f", "{{json .HostConfig.DeviceRequests}}", id))
    assert [(each["Driver"], each["DeviceIDs"]) for each in shown] == [("cdi", ["vendor.com/class=first"])]
    assert json.loads(cdi.out("info", "--format", "{{json .CDISpecDirs}}")) == [str(Path(cdi.config) / "files")]


def test_devices_of_a_step(cdi: Client, tmp_path: Path) -> None:
    """docker without its plugin has no `--allow`."""
    step = "echo $VENDOR $DEVICE; cat /usr/lib/vendor/it; stat -c %t:%T /dev/mine; id -G"
    where = tmp_path / "Dockerfile"
    where.write_text(
        f"FROM {IMAGE}\nRUN --device=vendor.com/class=first,required {step}\nRUN ls /dev/mine || echo gone\n"
    )
    if cdi.name == "docker":
        refused = execute([*cdi.command, "build", str(tmp_path)], env={**cdi.env, "DOCKER_BUILDKIT": "0"})
        assert refused.code == 1 and "device vendor.com/class=first is not allowed" in refused.err
    client = replace(cdi, command=available()["corten"])
    flags = ("build", "--progress", "plain", "-t", "stepped")
    assert "device vendor.com/class=first is not allowed" in client(*flags, str(tmp_path), code=1).err
    assert "is not allowed" in client(*flags, "--allow", "device=vendor.com/class=other", str(tmp_path), code=1).err
    for allowed in ("device", "device=vendor.com/class=first"):
        done = client(*flags, "--no-cache", "--allow", allowed, str(tmp_path))
        lines = re.findall(r"^#5 \d+\.\d+ (.*)", done.err, re.MULTILINE)
        assert lines[:3] == ["1 first", "by the vendor", "1:3"] and "4711" in lines[3].split()
        assert "gone" in done.err
    assert cdi.out("run", "--rm", "stepped", "sh", "-c", "ls /usr/lib/vendor /dev/mine; true") == ""
    client("rmi", "stepped")


def test_devices_of_a_step_that_are_not_there(cdi: Client, tmp_path: Path) -> None:
    client = replace(cdi, command=available()["corten"])
    flags = ("build", "--progress", "plain", "--allow", "device", str(tmp_path))
    for text, error in (
        ("vendor.com/class=none,required", "unresolvable CDI devices vendor.com/class=none"),
        ("vendor.com/class=hooked", "has hooks (createContainer), which are not supported"),
        ("mine", "mine"),
    ):
        (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN --device={text} true\n")
        assert error in client(*flags, code=1).err
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN --device=vendor.com/class=none echo went on\n")
    done = client(*flags)
    assert " went on\n" in done.err and "vendor.com/class=none is not here, and not required" in done.err
