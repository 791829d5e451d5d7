"""What a child of a supervisor needs to know of a tree. What it does in it: tests/contract/test_instance.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corten.errors import Unsupported
from corten.supervisor import works
from corten.supervisor.requests import Create, decode_create

OVERLAY = ["upperdir=/t/3/fs", "workdir=/t/3/work", "index=off"]


def create(bundle: str = "/b", **root: object) -> Create:
    return decode_create({"run": "/r", "bundle": bundle, "rootfs": [{"destination": "/", **root}]})


def test_an_instance_s_layers() -> None:
    below, own = works._layers(create(type="overlay", options=["lowerdir=/t/2/fs:/t/1/fs", *OVERLAY]))
    assert own == "/t/3/fs"
    assert (below["type"], below["options"]) == ("overlay", ["ro", "lowerdir=/t/2/fs:/t/1/fs", "index=off"])


def test_one_layer_below_is_no_overlay() -> None:
    below, own = works._layers(create(type="overlay", options=["lowerdir=/t/1/fs", *OVERLAY]))
    assert own == "/t/3/fs"
    assert (below["type"], below["source"], below["options"]) == ("bind", "/t/1/fs", ["rbind", "ro"])


def test_a_tree_without_layers() -> None:
    for made in (create(type="bind", source="/t/1/fs", options=["rbind"]), create()._replace(rootfs=())):
        with pytest.raises(Unsupported, match="by its snapshot"):
            works._layers(made)


@pytest.mark.parametrize("gids", [[], [{"containerID": 0, "hostID": 200000, "size": 65536}]])
def test_the_ids_of_a_user_namespace(tmp_path: Path, gids: list[dict[str, int]]) -> None:
    uids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    (tmp_path / "config.json").write_text(json.dumps({"linux": {"uidMappings": uids, "gidMappings": gids}}))
    found = works._id_maps(create(str(tmp_path)))
    assert found == ({"uids": [[0, 100000, 65536]], "gids": [[0, 200000, 65536]]} if gids else None)
