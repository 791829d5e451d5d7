"""Docker Compose itself, where it is: CORTEN_COMPOSE_ORACLE names it, or PATH has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

VERSION = "v2.40.3"


@cache
def path() -> str:
    """ "" when there is none of that version."""
    for each in (os.environ.get("CORTEN_COMPOSE_ORACLE", ""), shutil.which("docker-compose") or ""):
        if each:
            said = subprocess.run([each, "version", "--short"], capture_output=True, text=True).stdout.strip()
            if said.removeprefix("v") == VERSION.removeprefix("v"):
                return each
    return ""
