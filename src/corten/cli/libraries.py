"""Libraries, for commands that read Compose files: the launcher in a clone leaves `site` out, for a quicker start."""

from __future__ import annotations

import sys


def find() -> None:
    """Have what is installed beside this package in `sys.path`; once is enough."""
    if "site" not in sys.modules:
        import site

        site.main()
