"""Secrets and configs as a service or a build names them."""

from __future__ import annotations

from corten.compose.model.scalars import FileMode
from corten.compose.model.struct import Struct


class FileReference(Struct, frozen=True, kw_only=True):
    source: str = ""
    """The key below the project's `secrets` or `configs`."""
    target: str = ""
    """Absolute path in the container (/run/secrets/NAME, /NAME by default); of a build: the secret's id, "" for
    `source`."""
    uid: str = ""
    gid: str = ""
    mode: FileMode | None = None
