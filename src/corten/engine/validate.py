"""Whether a container can be made as it is asked for: dockerd's checks at create, in dockerd's words.

Everything in the request is hostile until it was here. What passes is safe to hand to `container_spec`: the JSON types
are right, nothing is larger than it may be, and no text holds what would break out of the file that it ends up in.
"""

from __future__ import annotations

import re

from corten.errors import Invalid

_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)


def check_name(name: str) -> None:
    """A container's name, with or without the leading slash of the API."""
    if not _NAME.fullmatch(name):
        raise Invalid(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
