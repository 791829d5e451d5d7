"""Which processes belong to an engine."""

from __future__ import annotations

import os

from bench import processes

TABLE = {1: 0, 10: 1, 11: 10, 12: 10, 13: 12, 20: 1, 21: 20}


def test_descendants_are_children_and_theirs() -> None:
    assert processes.descendants(10, TABLE) == [11, 12, 13]
    assert processes.descendants(13, TABLE) == []


def test_the_parent_of_this_process() -> None:
    assert processes.parents()[os.getpid()] == os.getppid()


def test_memory_of_this_process_and_of_one_that_ended() -> None:
    ours = processes.pss([os.getpid()])
    assert 1 < ours < 1000
    assert processes.pss([os.getpid(), 2**22 + 1]) < ours * 2


def test_processes_are_counted_by_their_name() -> None:
    (one,) = processes.by_name([os.getpid()]).split(", ")
    two = processes.by_name([os.getpid(), os.getpid()])
    assert one.startswith("1 ") and one.endswith(" MB")
    assert two.startswith("2 ")
