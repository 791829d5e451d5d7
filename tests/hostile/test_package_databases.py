"""Package databases that are none, in trees that builds have made: the worker that reads them ends soon, reads nothing
outside of the tree, and says what it could not read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_world import BuildWorld
from corten.spec.packages.package import Inventory

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the runtime needs root")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildWorld]:
    made = BuildWorld(tmp_path_factory.mktemp("packages"))
    yield made
    made.close()


def packages(world: BuildWorld, script: str) -> Inventory:
    layer, said = world.run(script)
    assert layer.blob is not None, said
    found = world.do(world.worker.packages((*world.base, layer.diff_id)))
    assert world.left() == []
    return found


def test_what_is_no_file(world: BuildWorld) -> None:
    found = packages(
        world,
        "mkdir -p /var/lib/dpkg /lib/apk/db /s/site-packages/a.dist-info /s/site-packages/b.egg-info/PKG-INFO;"
        "mkfifo /var/lib/dpkg/status; ln -s /etc/shadow /lib/apk/db/installed;"
        "ln -s /proc/1/environ /s/site-packages/a.dist-info/METADATA;"
        "mkdir -p /node_modules/x; mkfifo /node_modules/x/package.json; ln -s . /node_modules/loop",
    )
    assert found.packages == [] and "var/lib/dpkg/status" in found.unread[0]


def test_links_end_at_the_tree(world: BuildWorld, tmp_path: Path) -> None:
    """A name of the host's that a link leads to: what the tree itself has there is read."""
    (tmp_path / "outside").write_text("Package: outside\nVersion: 1\n")
    found = packages(
        world, f"mkdir -p /var/lib/dpkg /lib/apk; ln -s ../../../../../..{tmp_path}/outside /var/lib/dpkg/status"
    )
    assert found.packages == []


def test_what_is_endless_or_has_no_end(world: BuildWorld) -> None:
    found = packages(
        world,
        "mkdir -p /var/lib/dpkg /var/lib/rpm /node_modules/deep /node_modules/big;"
        "truncate -s 10G /var/lib/dpkg/status; printf 'SQLite format 3\\0' > /var/lib/rpm/rpmdb.sqlite;"
        "truncate -s 100G /var/lib/rpm/rpmdb.sqlite;"
        "head -c 900000 /dev/zero | tr '\\0' '[' > /node_modules/deep/package.json;"
        "truncate -s 10G /node_modules/big/package.json",
    )
    assert found.packages == []
    assert {line.partition(":")[0].strip("'") for line in found.unread} == {
        "var/lib/dpkg/status", "var/lib/rpm", "node_modules/big/package.json",
    }  # fmt: skip


def test_many_packages_and_long_names(world: BuildWorld) -> None:
    """Those that fit; names without what moves a cursor."""
    script = (
        "mkdir -p /var/lib/dpkg/status.d; cd /var/lib/dpkg;"
        'i=0; while [ $i -lt 60000 ]; do echo "Package: p$i\nVersion: 1\n"; i=$((i+1)); done > status;'
        "printf 'Package: \\033[2Jx\\nVersion: %100000d\\n' 1 > status.d/x"
    )
    found = packages(world, script)
    assert len(found.packages) == 50_000 and any("left out" in line for line in found.unread)
    assert all(package.name.isprintable() and len(package.version) <= 512 for package in found.packages)
