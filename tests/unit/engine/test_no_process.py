"""The engine uses tasks and no processes: with a guest, the number of a task is no process of the container."""

from __future__ import annotations

import re
from pathlib import Path

import corten.engine

# A path below /proc that is made of a number, and signals by number or pidfd.
_PROCESS = re.compile(r"/proc/\{(?!os\.getpid\(\))|os\.kill|os\.killpg|pidfd")


def test_nothing_here_opens_or_signals_a_process() -> None:
    sources = sorted(Path(corten.engine.__file__).parent.rglob("*.py"))
    assert len(sources) > 30
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in sources
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _PROCESS.search(line)
    ]
    assert found == []
