"""What this client says about itself, in the shape of Docker's version and info."""

from __future__ import annotations

import os
import sys

from corten import __version__
from corten.client.api import MAX_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PYTHON = ".".join(str(part) for part in sys.version_info[:3])


def architecture() -> str:
    machine = os.uname().machine
    return ARCHITECTURES.get(machine, machine)


def client(api_version: str) -> dict[str, Any]:
    """GoVersion is where Docker's scripts look for the language; ours is Python."""
    return {
        "Version": __version__,
        "ApiVersion": api_version,
        "DefaultAPIVersion": MAX_VERSION,
        "GitCommit": "",
        "GoVersion": f"python{PYTHON}",
        "Os": "linux",
        "Arch": architecture(),
        "BuildTime": "",
        "Context": "default",
    }
