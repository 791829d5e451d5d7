"""critest on `corten cri` and, beside it, on containerd: what that one passes on this machine is passed here."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e_parts.critest import NEEDED, Missing, run, table

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture
def root() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="ce-"))
    yield made
    shutil.rmtree(made)


def test_what_containerd_passes_is_passed(root: Path) -> None:
    programs = os.environ["CORTEN_CRI_TOOLS"]
    with ThreadPoolExecutor() as pool:
        running = {name: pool.submit(run, name, programs, root / name.lower()) for name in NEEDED}
    try:
        found = {name: future.result() for name, future in running.items()}
    except Missing as missing:
        pytest.skip(f"needs {missing}")
    print("\n" + table(found))
    passed = {spec for spec, outcome in found["containerd"].items() if outcome == "passed"}
    assert passed <= {spec for spec, outcome in found["Corten"].items() if outcome == "passed"}
