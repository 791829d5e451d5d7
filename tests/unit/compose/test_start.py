"""What a command of Compose loads before its first request: each module costs its start half a millisecond."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Of making containers, of other people's programs, and what is slow to load (dataclasses brings inspect).
NOT_FOR_DOWN = (
    "_hashlib",
    "_strptime",
    "corten.compose.execute.making",
    "corten.compose.execute.providers",
    "corten.compose.execute.hooks",
    "corten.compose.output",
    "corten.compose.requests",
    "corten.spec.docker",
    "corten.spec.git_url",
    "dataclasses",
    "difflib",
    "inspect",
    "ipaddress",
    "subprocess",
    "tarfile",
    "typing_extensions",
    "urllib.parse",
)
PROBE = """
import sys
from corten.cli.compose import entry
from corten.cli.main import main
code = main(["-H", "unix:///nowhere/at/all", "compose", "down"])
import corten.cli.compose.performing, corten.compose.plan.down
print(code, *sorted(sys.modules))
"""


def test_down_loads_nothing_of_up(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "services: {a: {image: x, ports: ['80:80'], volumes: ['d:/d']}}\nvolumes: {d: {}}\n"
    )
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, cwd=tmp_path, check=True)
    code, *loaded = done.stdout.split()
    assert code == "1" and "/nowhere/at/all" in done.stderr  # the files were read, and then there was no engine
    assert "corten.compose.loader.load" in loaded
    assert [name for name in NOT_FOR_DOWN if name in loaded] == []
