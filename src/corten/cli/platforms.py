"""Platforms: os/arch/variant as users write it, and the JSON that newer parts of the API take."""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.client import quickjson


def as_json(text: str) -> str:
    """linux/arm64/v8 to OCI's {"os", "architecture", "variant"}; empty stays empty.

    Raises CommandError for another form.
    """
    if not text:
        return ""
    parts = text.lower().split("/")
    if len(parts) > 3 or not all(parts):
        raise CommandError(f"invalid platform: {text!r} is not os/arch or os/arch/variant")
    if len(parts) == 1:
        parts = ["linux", *parts]
    names = ("os", "architecture", "variant")
    return quickjson.dumps(dict(zip(names, parts, strict=False)))
