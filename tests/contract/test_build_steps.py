"""Steps of builds on a daemon's own rooms: RUN in the real runtime, COPY by real children, real layers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from build_world import BuildWorld
from corten.build.contract import Matched, StepFailed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the runtime needs root")


@pytest.fixture(scope="module", params=["overlay2", "copy"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildWorld]:
    world = BuildWorld(tmp_path_factory.mktemp("build"), "--storage-driver", request.param)
    yield world
    world.close()


def test_a_run_adds_a_layer(world: BuildWorld) -> None:
    layer, said = world.run("echo hello; echo no >&2; mkdir /d; echo x > /d/f; rm /bin/vi; id -u")
    assert sorted(said.splitlines()) == ["0", "hello", "no"]
    assert world.files(layer) == [
        "drwxr-xr-x 0/0 bin/",
        "---------- 0/0 bin/.wh.vi",
        "drwxr-xr-x 0/0 d/",
        "-rw-r--r-- 0/0 d/f",
    ]
    again, said = world.run("cat /d/f; test -e /bin/vi || echo gone", [*world.base, layer.diff_id])
    assert said == "x\ngone\n"
    assert again.blob is None
    assert again.diff_id == again.tree == ""
    assert world.left() == []


def test_a_run_that_fails(world: BuildWorld) -> None:
    with pytest.raises(StepFailed) as failed:
        world.run("echo x > /f; exit 7")
    assert failed.value.status == 7
    assert world.left() == []


def test_a_copy_of_a_directory(world: BuildWorld) -> None:
    context = world.context("simple")
    (context.directory / "d").mkdir()
    (context.directory / "d/a").write_text("a")
    (context.directory / "d/l").symlink_to("a")
    os.chmod(context.directory / "d/a", 0o4751)
    layer = world.copy(Matched(context, ("d",)), target="/usr/t")
    assert world.files(layer) == [
        "drwxr-xr-x 0/0 usr/",
        "drwxr-xr-x 0/0 usr/t/",
        "-rwsr-x--x 0/0 usr/t/a",
        "lrwxrwxrwx 0/0 usr/t/l -> a",
    ]
    _, said = world.run("cat /usr/t/l; ls /usr/t", [*world.base, layer.diff_id])
    assert said == "aa\nl\n"
    assert world.left() == []
