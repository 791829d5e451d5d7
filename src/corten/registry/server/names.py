"""What repositories and tags may be called (OCI distribution specification 1.1, "Pulling manifests").

A name becomes a path below the store's root: nothing is one that was not matched in full, and no component of one can
begin with `_` or `.`.
"""

from __future__ import annotations

import re

from corten.errors import Invalid

NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
MAX_NAME = 255


def check_name(name: str) -> str:
    if len(name) > MAX_NAME or not NAME.fullmatch(name):
        raise Invalid("invalid repository name")
    return name


def check_tag(tag: str) -> str:
    if not TAG.fullmatch(tag):
        raise Invalid("invalid tag name")
    return tag
