"""CDI files: which are read, which device is meant, and what it changes in a specification."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from corten.engine import cdi
from corten.errors import Conflict, CortenError, Invalid, Unsupported
from corten.plan.cdi import apply
from corten.plan.facts import DeviceNode, HostFacts
from corten.spec.cdi import Edits, parse, parse_name
from corten.spec.docker.devices import DeviceRequest

KIND = "vendor.com/class"


def write(directory: Path, name: str, *devices: tuple[str, dict[str, Any]], kind: str = KIND, **more: Any) -> None:
    directory.mkdir(exist_ok=True)
    content = {"cdiVersion": "0.8.0", "kind": kind, **more}
    content["devices"] = [{"name": device, "containerEdits": edits} for device, edits in devices]
    (directory / name).write_text(json.dumps(content))


def env(text: str) -> dict[str, Any]:
    return {"env": [text]}


def found(directories: Sequence[Path], *names: str) -> list[list[str]]:
    request = DeviceRequest(driver="cdi", device_ids=list(names))
    return [edits.env for edits in cdi.edits([str(path) for path in directories], [request])]


def test_a_file_s_own_edits_come_once_and_first(tmp_path: Path) -> None:
    write(tmp_path, "a.json", ("one", env("A=1")), ("two", env("A=2")), containerEdits=env("ALL=1"))
    names = (f"{KIND}=two", f"{KIND}=one", f"{KIND}=two")
    assert found([tmp_path], *names) == [["ALL=1"], ["A=2"], ["A=1"]]


def test_a_later_directory_goes_before_and_the_same_twice_is_a_conflict(tmp_path: Path) -> None:
    early, late = tmp_path / "early", tmp_path / "late"
    write(early, "a.json", ("x", env("FROM=early")), ("y", env("FROM=early")))
    write(late, "b.json", ("x", env("FROM=late")))
    assert found([early, late, tmp_path / "absent"], f"{KIND}=x", f"{KIND}=y") == [
        [], ["FROM=late"], [], ["FROM=early"],
    ]  # fmt: skip
    write(late, "c.json", ("x", env("FROM=other")))
    with pytest.raises(Conflict, match=f"CDI device {KIND}=x is in .*b.json and in .*c.json"):
        found([early, late], f"{KIND}=x")
    assert found([early, late], f"{KIND}=y") == [[], ["FROM=early"]]


def test_yaml(tmp_path: Path) -> None:
    text = """
        cdiVersion: "0.5.0"
        kind: vendor.com/class
        devices:
        - name: "0"
          containerEdits:
            env: [A=1]
            deviceNodes:
            - {path: /dev/x, type: c, major: 1, minor: 3, fileMode: 0660}
    """
    (tmp_path / "a.yaml").write_text(text)
    (edits,) = cdi.edits([str(tmp_path)], [DeviceRequest(driver="cdi", device_ids=[f"{KIND}=0"])])[1:]
    assert edits.env == ["A=1"] and edits.device_nodes[0].file_mode == 0o660


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "truncated"),
        ("[" * 100_000, "recursion|truncated"),
        (json.dumps({"cdiVersion": "2.0.0", "kind": KIND}), "CDI version '2.0.0' is not supported"),
        (json.dumps({"cdiVersion": "0.8.0", "kind": "nokind"}), "kind 'nokind' is not VENDOR/CLASS"),
        (json.dumps({"cdiVersion": "0.8.0", "kind": KIND, "new": 1}), "unknown field `new`"),
        (json.dumps({"cdiVersion": "0.8.0", "kind": KIND, "containerEdits": {"netDevices": []}}), "netDevices"),
        (json.dumps({"cdiVersion": "0.8.0", "kind": KIND, "devices": [{"name": "a b", "containerEdits": {}}]}), "a b"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_hides_no_other(tmp_path: Path, content: str, words: str) -> None:
    write(tmp_path, "good.json", ("x", env("A=1")))
    (tmp_path / "bad.json").write_text(content)
    assert found([tmp_path], f"{KIND}=x") == [[], ["A=1"]]
    with pytest.raises(Invalid, match=rf"unresolvable CDI devices {KIND}=nope \(.*bad.json: .*({words})"):
        found([tmp_path], f"{KIND}=nope")


def test_what_would_be_left_out_is_refused_by_name(tmp_path: Path) -> None:
    hook = {"hooks": [{"hookName": "createContainer", "path": "/bin/true", "args": ["true"]}]}
    write(tmp_path, "a.json", ("hooked", hook), ("rdt", {"intelRdt": {"closID": "x"}}), ("plain", {}))
    for name, words in (("hooked", r"hooks \(createContainer\)"), ("rdt", "intelRdt")):
        with pytest.raises(Unsupported, match=f"CDI device {KIND}={name} has {words}, which (are|is) not supported"):
            found([tmp_path], f"{KIND}={name}")
    write(tmp_path, "a.json", ("plain", {}), containerEdits=hook)
    with pytest.raises(Unsupported, match=r"CDI file .*a.json has hooks \(createContainer\)"):
        found([tmp_path], f"{KIND}=plain")


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        ({"count": -1}, ["all"]),
        ({"count": 2}, ["0", "1"]),
        ({"device_ids": ["1", "0"]}, ["1", "0"]),
        ({"count": -1, "driver": "nvidia"}, ["all"]),
    ],
)
def test_gpus_are_the_devices_of_a_vendor(tmp_path: Path, request_: dict[str, Any], names: list[str]) -> None:
    every = [(name, env(f"GPU={name}")) for name in ("0", "1", "all")]
    write(tmp_path, "amd.json", ("0", env("GPU=amd")), kind="amd.com/gpu")
    write(tmp_path, "nvidia.json", *every, kind="nvidia.com/gpu")
    request = DeviceRequest(capabilities=[["compute", "gpu"]], **request_)
    assert [edits.env for edits in cdi.edits([str(tmp_path)], [request])] == [[], *([f"GPU={name}"] for name in names)]


def test_gpus_without_a_vendor(tmp_path: Path) -> None:
    request = DeviceRequest(count=-1, capabilities=[["gpu"]])
    with pytest.raises(Invalid, match=r'could not select device driver "" with capabilities: \[\[gpu\]\]'):
        cdi.edits([str(tmp_path)], [request])
    write(tmp_path, "nvidia.json", ("all", {}), kind="nvidia.com/gpu")
    with pytest.raises(Invalid, match='driver "amd"'):
        cdi.edits([str(tmp_path)], [DeviceRequest(driver="amd", count=-1, capabilities=[["gpu"]])])


@pytest.mark.parametrize("text", ["", "x", "v/c", "v/c=", "/c=x", "v/=x", "v/c=x y", "/dev/x=y", "v/c=-x"])
def test_names(text: str) -> None:
    with pytest.raises(CortenError, match="invalid CDI device name"):
        parse_name(text)


def edits_of(edits: dict[str, Any]) -> Edits:
    return parse({"cdiVersion": "0.8.0", "kind": KIND, "containerEdits": edits}).container_edits


def devices(path: str) -> list[DeviceNode]:
    if path != "/dev/host":
        raise FileNotFoundError(2, "No such file or directory", path)
    return [DeviceNode(path, "c", 5, 6, 0o640, 7, 8)]


def changed(edits: dict[str, Any], user: int = 0) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "process": {"env": ["A=old", "B=1"], "user": {"uid": user, "gid": user}},
        "mounts": [{"destination": "/proc"}, {"destination": "/lib/x"}],
        "linux": {"resources": {"devices": []}, "devices": [{"path": "/dev/x"}]},
    }
    apply(spec, [edits_of(edits)], HostFacts((), devices=devices))
    return spec


def test_what_a_device_changes() -> None:
    spec = changed({
        "env": ["A=new", "C=1"],
        "additionalGids": [5, 0, 5],
        "mounts": [{"hostPath": "/h", "containerPath": "/lib/x", "options": ["ro", "bind"]},
                   {"hostPath": "tmpfs", "containerPath": "/t", "type": "tmpfs"},
                   {"hostPath": "/h", "containerPath": "/u"}],
    })  # fmt: skip
    assert spec["process"]["env"] == ["A=new", "B=1", "C=1"]
    assert spec["process"]["user"]["additionalGids"] == [5]
    assert spec["mounts"] == [
        {"destination": "/proc"},
        {"destination": "/lib/x", "source": "/h", "options": ["ro", "bind"]},
        {"destination": "/t", "source": "tmpfs", "type": "tmpfs", "options": []},
        {"destination": "/u", "source": "/h", "options": ["rbind"]},
    ]


def test_device_nodes_are_the_host_s_unless_they_say_otherwise() -> None:
    spec = changed({"deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/host", "permissions": "r"}]})
    assert spec["linux"]["devices"] == [
        {"path": "/dev/x", "type": "c", "major": 5, "minor": 6, "fileMode": 0o640, "uid": 7, "gid": 8}
    ]
    assert spec["linux"]["resources"]["devices"] == [
        {"allow": True, "type": "c", "major": 5, "minor": 6, "access": "r"}
    ]
    node = {"path": "/dev/y", "type": "b", "major": 9, "minor": 1, "fileMode": 0o600, "uid": 1, "gid": 2}
    spec = changed({"deviceNodes": [node]}, user=1000)
    assert spec["linux"]["devices"][1] == {**node, "path": "/dev/y"}
    assert spec["linux"]["resources"]["devices"][0]["access"] == "rwm"
    spec = changed({"deviceNodes": [{"path": "/dev/host"}]}, user=1000)  # the user's, as the specification has it
    assert (spec["linux"]["devices"][1]["uid"], spec["linux"]["devices"][1]["gid"]) == (1000, 1000)


@pytest.mark.parametrize(
    ("node", "words"),
    [({"path": "/dev/nope"}, "no such file"), ({"path": "/dev/host", "type": "b"}, "is of type 'c', not 'b'")],
)
def test_a_device_that_is_not_there(node: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        changed({"deviceNodes": [node]})


@pytest.mark.parametrize(
    "annotations",
    [
        '!!bool "x"',
        '!!int ""',
        '!!float ""',
        '!!int "-"',
        'x}\n"\\ud800": {a: b',
        '"\\UFFFFFFFF"',
        "!!timestamp x",
        "{[a]: b}",
        "&a {x: *a}",
    ],
)
def test_yaml_that_means_nothing_hides_no_other_file(tmp_path: Path, annotations: str) -> None:
    write(tmp_path, "good.json", ("x", env("A=1")))
    text = f"cdiVersion: 0.8.0\nkind: {KIND}\ndevices: []\nannotations: {{k: {annotations}}}\n"
    (tmp_path / "bad.yaml").write_text(text)
    assert found([tmp_path], f"{KIND}=x") == [[], ["A=1"]]
    with pytest.raises(Invalid, match=r"bad\.yaml: "):
        found([tmp_path], f"{KIND}=nope")


HEAD = "cdiVersion: 0.8.0\nkind: v.com/c\ndevices:\n"
NODES = f"deviceNodes: [&n {{path: /dev/null}}{', *n' * 2000}]"


@pytest.mark.parametrize(
    "devices",
    [
        f"- &d\n  name: a\n  containerEdits:\n    {NODES}\n" + "- *d\n" * 2000,
        f"- name: a\n  containerEdits: {{intelRdt: &a {{k: [{'x, ' * 1000}*a]}}}}\n",
    ],
    ids=["many", "circle"],
)
def test_aliases_are_counted_with_what_they_stand_for(tmp_path: Path, devices: str) -> None:
    """Some KiB would be gigabytes."""
    (tmp_path / "a.yaml").write_text(HEAD + devices)
    with pytest.raises(Invalid, match="more than 131072 values"):
        found([tmp_path], "v.com/c=a")


def test_an_alias_means_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        HEAD + "- name: a\n  containerEdits: &e {env: [A=1]}\n- {name: b, containerEdits: *e}\n"
    )
    assert found([tmp_path], "v.com/c=b") == [[], ["A=1"]]


def test_nothing_but_files_is_opened(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "it", ("one", env("A=1")))
    (tmp_path / "link.json").symlink_to("elsewhere/it")
    (tmp_path / "device.json").symlink_to("/dev/zero")
    (tmp_path / "directory.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    assert found([tmp_path], f"{KIND}=one") == [[], ["A=1"]]
    with pytest.raises(Invalid) as failed:
        found([tmp_path], f"{KIND}=two")
    assert str(failed.value).count("it is no regular file") == 3
