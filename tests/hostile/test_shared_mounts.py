"""What a container has mounted and another one gets a share of: volumes that are file systems, shared memory.

The place is looked up in the tree of the first container, which may have put something else there by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fault_parts.fragile import Fragile

AT = "/data/vol"


@pytest.fixture
def ram(daemon: Fragile) -> Iterator[str]:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    assert daemon.ask("POST", "/volumes/create", {"Name": "ram", "DriverOpts": options})[0] == 201
    yield "ram"
    daemon.remove_everything()


def with_volume(daemon: Fragile, volume: str, *binds: str, at: str = AT) -> str:
    return daemon.run("sleep", "1000", host={"Binds": [f"{volume}:{at}", *binds]})


def start_other(daemon: Fragile, volume: str) -> tuple[int, str]:
    id = daemon.create("sh", "-c", "ls /x; touch /x/written", host={"Binds": [f"{volume}:/x"]})
    status, answer = daemon.ask("POST", f"/containers/{id}/start")
    said = daemon.output(id) if status == 204 and daemon.wait(id) else str(answer["message"])
    return status, said


@pytest.mark.parametrize("instead", ["/sys", "/proc/sys", "/read-only"])
def test_a_link_in_the_place_of_a_volume(daemon: Fragile, ram: str, tmp_path: Path, instead: str) -> None:
    """What is read-only for one container, the host's settings among it, was written to by the next."""
    first = with_volume(daemon, ram, f"{tmp_path}:/read-only:ro")
    swap = f"mv /data /old && mkdir /data && ln -s {instead} {AT}"
    assert daemon.inside(first, "sh", "-c", swap) == (0, "")
    status, said = start_other(daemon, ram)
    assert (status, said.endswith(f"has something else at {AT}")) == (500, True), said
    assert list(tmp_path.iterdir()) == []


def test_another_mount_in_the_place_of_a_volume(daemon: Fragile, ram: str, tmp_path: Path) -> None:
    """Without a link: a parent of a mount can be renamed."""
    first = with_volume(daemon, ram, f"{tmp_path}:/other/vol:ro")
    assert daemon.inside(first, "sh", "-c", "mv /data /old && mv /other /data") == (0, "")
    status, said = start_other(daemon, ram)
    assert (status, said.endswith(f"has something else at {AT}")) == (500, True), said
    assert list(tmp_path.iterdir()) == []


def test_a_volume_through_a_link_of_the_image_is_shared(daemon: Fragile, ram: str) -> None:
    """The harmless twin: that link was there before the program, and what is found there is the volume."""
    link = daemon.run("ln", "-s", "/srv/there", "/linked")
    daemon.wait(link)
    status, made = daemon.ask("POST", f"/commit?container={link}&repo=linked", {})
    assert status == 201, made
    first = daemon.run(
        "sh", "-c", "mkdir /linked/vol/d; exec sleep 1000", host={"Binds": ["ram:/linked/vol"]}, Image="linked"
    )
    assert daemon.inside(first, "sh", "-c", "until test -d /srv/there/vol/d; do sleep 0.05; done") == (0, "")
    assert start_other(daemon, ram) == (204, "d\n")
    daemon.remove_everything()
    assert daemon.ask("DELETE", "/images/linked")[0] == 200


def test_nothing_below_a_volume_is_shared_with_it(daemon: Fragile, ram: str, tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    with_volume(daemon, ram, f"{tmp_path}:{AT}/own")
    id = daemon.create("ls", "/x/own", host={"Binds": [f"{ram}:/x"]})
    assert daemon.ask("POST", f"/containers/{id}/start")[0] == 204
    daemon.wait(id)
    assert daemon.output(id) == ""


def test_a_later_daemon_knows_the_mount(daemon: Fragile, ram: str) -> None:
    first = with_volume(daemon, ram)
    assert daemon.inside(first, "mkdir", f"{AT}/d") == (0, "")
    daemon.kill()
    daemon.start()
    assert start_other(daemon, ram) == (204, "d\n")
    assert daemon.inside(first, "sh", "-c", f"mv /data /old && mkdir /data && ln -s /sys {AT}") == (0, "")
    daemon.kill()
    daemon.start()
    status, said = start_other(daemon, ram)
    assert (status, said.endswith(f"has something else at {AT}")) == (500, True), said
