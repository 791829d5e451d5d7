"""Where a daemon finds a supervisor, which is root's alone, whatever the umask was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from corten.supervisor import place


def test_modes(tmp_path: Path) -> None:
    """The directory of all of them as well, where this is the first."""
    run, bundle = tmp_path / "machines" / "id", tmp_path / "bundle"
    bundle.mkdir()
    before = os.umask(0)
    try:
        place.prepare(str(run), str(bundle))
        place.prepare(str(run), str(bundle))
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (run.parent, run)] == [0o700, 0o700]
