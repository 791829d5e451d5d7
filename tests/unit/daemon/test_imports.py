"""What a daemon carries before anything was asked of it."""

from __future__ import annotations

import subprocess
import sys

LATER = ("corten.buildkit", "corten.http2", "corten.spec.protobuf", "hpack")
FIRST_BUILD = (
    "building", "context_url", "downloads", "fetched", "plan.planner", "solver", "work.repositories", "work.reading"
)  # fmt: skip
PROGRAM = "import sys, corten.daemon.assemble, corten.daemon.main; print('\\n'.join(sys.modules))"


def test_what_builds_over_a_session_need_comes_with_the_first_of_them() -> None:
    loaded = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    assert "corten.build.builds" in loaded
    assert not [name for name in loaded if name.startswith(LATER)]
    assert not {f"corten.build.{name}" for name in FIRST_BUILD} & {*loaded} and "corten.spec.git_url" not in loaded
