"""Bake files: what they say, what they may not say, and which builds come of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from corten.cli import bakefiles, baketargets
from corten.cli.baketargets import Chosen
from corten.cli.baking import marked
from corten.cli.errors import CommandError

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def choose(document: Json, *words: str, changes: tuple[str, ...] = (), more: Json | None = None) -> Chosen:
    Path("docker-bake.json").write_text(json.dumps(document))
    if more is not None:
        Path("docker-bake.override.json").write_text(json.dumps(more))
    return baketargets.choose(bakefiles.read([]), words or ("default",), changes)


def targets(**given: Json) -> Json:
    return {"target": given}


def test_groups_in_groups() -> None:
    groups = {"default": {"targets": ["g", "a"]}, "g": {"targets": ["a", "b"]}}
    found = choose({"group": groups, **targets(a={}, b={})})
    assert found.asked == ["a", "b"]


def test_what_is_inherited() -> None:
    parents = {
        "one": {"args": {"A": "1", "B": "1"}, "tags": ["one"], "cache-from": ["x"], "target": "t"},
        "two": {"inherits": ["one"], "args": {"B": "2"}, "tags": ["two"], "cache-from": ["y"]},
    }
    found = choose(targets(default={"inherits": ["two"], "args": {"C": "3"}}, **parents)).targets["default"]
    assert found == {
        "args": {"A": "1", "B": "2", "C": "3"}, "tags": ["two"], "cache-from": ["x", "y"], "target": "t",
    }  # fmt: skip


def test_what_targets_add_to_their_parents() -> None:
    one = {"annotations": ["a=1"], "attest": ["type=sbom"], "entitlements": ["device"], "ulimits": ["nofile=1"]}
    own = {"annotations": ["b=2"], "attest": [{"type": "provenance", "mode": "max"}], "ulimits": ["core=0"]}
    target = choose(targets(default={"inherits": ["one"], **own}, one=one)).targets["default"]
    assert baketargets.words("default", target, {}) == [
        *("--annotation=a=1", "--annotation=b=2", "--allow=device", "--ulimit=core=0", "--attest=type=sbom"),
        *("--attest=type=provenance,mode=max", "--", "."),
    ]


def test_the_file_of_overrides_wins() -> None:
    found = choose(targets(default={"tags": ["a"], "args": {"A": "1"}}), more=targets(default={"tags": ["b"]}))
    assert found.targets["default"] == {"tags": ["b"], "args": {"A": "1"}}


def test_targets_that_others_begin_with_come_first() -> None:
    found = choose(
        targets(default={"contexts": {"base": "target:one", "x": "/x"}}, one={"contexts": {"b": "target:two"}}, two={})
    )
    assert list(found.targets) == ["two", "one", "default"] and found.asked == ["default"]


def test_a_matrix() -> None:
    found = choose(
        targets(default={"name": "app-${v}-$${x}", "matrix": {"v": ["a", 2]}, "args": {"V": "${v}", "P": "%%{ $${v}"}})
    )
    assert found.asked == ["app-a-${x}", "app-2-${x}"]
    assert found.targets["app-2-${x}"]["args"] == {"V": "2", "P": "%{ ${v}"}


def test_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "o")
    changes = (
        "*.args.A=2", "a.tags=x", "a.tags=y", "a.platform=linux/amd64", "b.no-cache=true", "a.args.OURS",
        "a.labels.l.m=1", "b.tags+=z", "nothing.tags=n", "a.output=",
    )  # fmt: skip
    given = targets(a={"args": {"A": "1"}, "output": ["type=tar"]}, b={"tags": ["b"]})
    found = choose(given, "a", "b", changes=changes).targets
    assert found["a"] == {
        "args": {"A": "2", "OURS": "o"}, "tags": ["x", "y"], "platforms": ["linux/amd64"], "output": [],
        "labels": {"l.m": "1"},
    }  # fmt: skip
    assert found["b"] == {"args": {"A": "2"}, "tags": ["b", "z"], "no-cache": True}


@pytest.mark.parametrize(
    "change", ["a", "a.b", "a.tags", "a.nope=1", "a.args=1", "a.tags.x=1", "a.pull=x", "a.matrix=1"]
)
def test_changes_that_are_none(change: str) -> None:
    with pytest.raises(CommandError, match="invalid"):
        choose(targets(a={}), "a", changes=(change,))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"variable": {}}, "variables and functions are HCL"),
        ({"foo": {}}, "unknown attribute foo"),
        ({"target": []}, "target is no object of objects"),
        (targets(default={"foo": 1}), "target.default: unknown attribute foo"),
        (targets(default={"policy": []}), "target.default.policy is not supported yet"),
        (targets(default={"tags": "x"}), "target.default.tags is not a list of strings"),
        (targets(default={"pull": "true"}), "target.default.pull is not a boolean"),
        (targets(default={"args": {"A": {}}}), "target.default.args is not an object of strings"),
        (targets(default={"context": "${dir}"}), "expressions are HCL.*dir"),
        (targets(default={"context": "%{if x}"}), "expressions are HCL"),
        (targets(default={"matrix": {"a": ["1"]}}), "a matrix needs a name"),
        (targets(default={"name": "x", "matrix": {"a": ["1", "2"]}}), "have the name x"),
        (targets(default={"name": "x", "matrix": {"a": [{}]}}), "only strings and numbers"),
        (targets(default={"name": "x", "matrix": {"a": list(range(100)), "b": list(range(100))}}), "more than 1000"),
        (targets(default={"inherits": ["default"]}), "inherits itself: default -> default"),
        (targets(default={"inherits": ["x"]}), "failed to find target x, which default inherits"),
        (targets(default={"contexts": {"a": "target:default"}}), "begins with itself"),
        (targets(default={"contexts": {"a": "target:x"}}), "failed to find target x, which is a context"),
        ({"group": {"default": {"targets": ["default"]}}}, "the group default is in itself"),
        (targets(a={}), "failed to find target default"),
        (targets(default={"inherits": ["0"]}, **{str(n): {"inherits": [str(n + 1)]} for n in range(2000)}), "deep"),
    ],
)
def test_what_is_refused(document: Json, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        choose(document)


@pytest.mark.parametrize(
    ("name", "message"),
    [("docker-bake.hcl", "docker-bake.hcl is here, but HCL is not read yet"),
     ("other", "couldn't find a bake definition")],
)  # fmt: skip
def test_files_that_are_not_read(name: str, message: str) -> None:
    Path(name).write_text("")
    with pytest.raises(CommandError, match=message):
        bakefiles.read([])


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "1"])
def test_files_that_are_no_json(text: str) -> None:
    Path("x.json").write_text(text)
    with pytest.raises(CommandError, match=r"failed to parse x\.json"):
        bakefiles.read(["x.json"])
    with pytest.raises(CommandError, match="not read yet"):
        bakefiles.read(["x.hcl"])
    with pytest.raises(CommandError, match="no such file"):
        bakefiles.read(["y.json"])


def test_a_target_as_words_of_build() -> None:
    os.mkdir("dir")
    target = {
        "context": "dir", "dockerfile": "D", "args": {"A": "1", "B": None, "N": 3, "T": True}, "labels": {"l": "x"},
        "tags": ["a", "b"], "contexts": {"base": "target:one", "x": "../x"},
        "secret": [{"id": "s", "src": "f"}, "id=t"],
        "ssh": [{"id": "k", "paths": ["/p"]}, "default"], "output": [{"type": "tar", "dest": "x"}], "pull": True,
        "no-cache": False, "platforms": ["linux/amd64", "linux/arm64"], "target": "t", "network": "host",
        "extra-hosts": {"h": "1.2.3.4"}, "no-cache-filter": ["f"], "shm-size": "1m", "cache-to": ["type=inline"],
    }  # fmt: skip
    assert baketargets.words("t", target, {"one": "sha256:1"}) == [
        "--build-arg=A=1", "--build-arg=B", "--build-arg=N=3", "--build-arg=T=true", "--label=l=x",
        "--add-host=h:1.2.3.4", "--build-context=base=docker-image://sha256:1", "--build-context=x=../x", "--tag=a",
        "--tag=b",
        "--no-cache-filter=f", "--target=t", "--network=host", "--shm-size=1m", "--output=type=tar,dest=x",
        "--secret=id=s,src=f", "--secret=id=t", "--cache-to=type=inline", "--ssh=k=/p", "--ssh=default",
        "--platform=linux/amd64,linux/arm64", "--pull", "--file=dir/D", "--", "dir",
    ]  # fmt: skip


def test_rows_have_their_target() -> None:
    event = {"vertexes": [{"digest": "d", "name": "[2/3] FROM sha256:1", "inputs": ["e"]}], "logs": [{"vertex": "d"}]}
    assert marked(event, "t", {"sha256:1": "one"}) == {
        "vertexes": [{"digest": "t:d", "name": "[t 2/3] FROM target:one", "inputs": ["t:e"]}],
        "logs": [{"vertex": "t:d"}],
    }
    assert (
        marked({"vertexes": [{"digest": "d", "name": "exporting"}]}, "t", {})["vertexes"][0]["name"] == "[t] exporting"
    )
