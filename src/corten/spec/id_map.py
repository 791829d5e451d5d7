"""Maps of user and group ids (user_namespaces(7))."""

from __future__ import annotations

from typing import NamedTuple


class IdRange(NamedTuple):
    """One line of a uid_map or gid_map: `size` ids from `container` on are the host's from `host` on."""

    container: int
    host: int
    size: int
