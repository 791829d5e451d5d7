"""Content digests: `ALGORITHM:HEX`, as the OCI image specification writes them (descriptor.md, "Digests").

A digest becomes a file name in the blob store, so nothing is a digest that was not matched by `DIGEST` in full.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from corten.errors import Invalid

DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def check(text: object) -> str:
    """`text` itself when it is a digest that we can verify. Raises Invalid otherwise, also for what is no string."""
    if isinstance(text, str) and len(text) <= 135 and DIGEST.fullmatch(text):
        return text
    raise Invalid(f"invalid digest: {str(text)[:100]!r}; want sha256:<64 lower-case hex digits>")


def is_digest(text: str) -> bool:
    return len(text) <= 135 and DIGEST.fullmatch(text) is not None


def split(digest: str) -> tuple[str, str]:
    """(algorithm, hex) of a digest."""
    algorithm, _, value = check(digest).partition(":")
    return algorithm, value


def of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def hasher(digest: str) -> Any:
    """A hashlib object of the digest's algorithm."""
    return hashlib.new(split(digest)[0])


def short(digest: str) -> str:
    """The first 12 hex digits, which is how Docker shows layers and images to users."""
    return digest.partition(":")[2][:12]
