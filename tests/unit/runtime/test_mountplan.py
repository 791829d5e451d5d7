"""Mount entries of the specification, taken apart."""

import pytest

from corten.kernel import mount as m
from corten.runtime import mountplan


def plan(*options: str, kind: str = "bind") -> mountplan.MountPlan:
    return mountplan.parse({"destination": "/t", "source": "/s", "type": kind, "options": list(options)})


def test_a_bind_has_its_type_or_its_options() -> None:
    assert plan().kind == "bind"
    assert plan("rbind", kind="none").recursive
    assert plan("bind", kind="").kind == "bind"
    assert plan(kind="tmpfs").kind == "new"
    assert plan(kind="cgroup2").kind == "cgroup"


def test_the_last_word_wins() -> None:
    assert plan("ro", "rw").add == 0
    assert plan("rw", "ro").add == m.MOUNT_ATTR_RDONLY
    assert plan("noatime", "relatime").add == m.MOUNT_ATTR_RELATIME


def test_recursive_words_are_kept_apart() -> None:
    found = plan("rro", "ro", "rprivate")
    assert (found.add, found.recursive_add) == (m.MOUNT_ATTR_RDONLY, m.MOUNT_ATTR_RDONLY)
    assert (found.propagation, found.propagation_recursive) == (m.MS_PRIVATE, True)


def test_unknown_words_go_to_the_file_system_but_not_to_a_bind() -> None:
    assert plan("size=64m", "mode=1777", "nosuid", kind="tmpfs").data == ("size=64m", "mode=1777")
    assert plan("size=64m").data == ()


@pytest.mark.parametrize("word", ["defaults", "sync", "loud"])
def test_words_of_mount_8_that_mean_nothing_here_are_dropped(word: str) -> None:
    assert plan(word, kind="tmpfs").data == ()
