"""A project in the words of others, for those who move on: systemd's quadlet files, Kubernetes' manifests.

Each is a pure function of a project: texts by file name, and a line for everything that cannot be said there.
"""

from __future__ import annotations

import msgspec


class Exported(msgspec.Struct):
    files: dict[str, str] = {}
    warnings: list[str] = []
