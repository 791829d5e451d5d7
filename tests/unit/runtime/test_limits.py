"""What a process gets of its specification beside its groups."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from corten.kernel import process as p
from corten.runtime.limits import set_oom_score


@pytest.mark.parametrize(("process", "score"), [({"oomScoreAdj": 0}, 0), ({"oomScoreAdj": 600}, 600), ({}, 500)])
def test_the_score_of_a_service_is_not_its_containers(process: dict[str, Any], score: int) -> None:
    """That of a service is negative, which takes a capability: any other stands for it. runc leaves it where a
    specification has none; an engine's always has one."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            p.set_oom_score(500)
            warnings = set_oom_score(0, process)
            os.write(theirs, f"{Path('/proc/self/oom_score_adj').read_text()}{warnings}".encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours) as said:
        assert said.read() == f"{score}\n[]"
    os.waitpid(child, 0)
