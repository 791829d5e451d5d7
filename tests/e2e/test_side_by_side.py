"""Several daemons on one machine, each with everything of its own."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2e_parts.cortend import IMAGE, Cortend


def test_daemons_that_start_at_once_choose_different_subnets() -> None:
    daemons = [Cortend(Path(tempfile.mkdtemp(prefix="ce-"))) for _ in range(4)]
    try:
        with ThreadPoolExecutor(len(daemons)) as pool:
            list(pool.map(Cortend.start, daemons))
        subnets = [daemon.get("/networks/bridge")["IPAM"]["Config"][0]["Subnet"] for daemon in daemons]
        assert len(set(subnets)) == len(daemons), subnets
        first, second = daemons[:2]
        first.warm_up()
        assert second.containers() == [] and second.get("/images/json") == []
        assert f"{IMAGE}:latest" in first.get("/images/json")[0]["RepoTags"]
    finally:
        for daemon in daemons:
            daemon.stop()
            shutil.rmtree(daemon.root, ignore_errors=True)
