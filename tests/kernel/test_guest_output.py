"""What a program in a guest has written when it ends, and nothing has read yet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from corten.errors import Conflict
from corten.supervisor.virtual import Virtual
from corten.vm.frames import WINDOW
from instance_parts.world import BUSYBOX, World, ended, remove_group

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="needs Debian's busybox-static"),
]


@pytest.fixture(autouse=True, scope="module")
def no_group_is_left() -> Iterator[None]:
    yield
    remove_group(os.getpid())


PIPE = 65536


def test_all_of_it_comes_before_the_end_does(tmp_path: Path) -> None:
    """More than the pipe here and what is on its way hold: the rest is in the guest's pipe when the program ends."""
    world = World(tmp_path, "vm")
    size = PIPE + WINDOW + PIPE // 2
    instance, created = world.started("sh", "-c", f"busybox head -c {size} /dev/zero; exit 3")
    created.listener.close()
    assert isinstance(instance, Virtual)
    with suppress(Conflict):  # it has ended
        while instance.table():
            pass
    assert len(world.read()) == size
    assert ended(instance, created) == 3
    instance.delete()
    os.close(world.pipe)
