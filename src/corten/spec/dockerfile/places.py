"""Lines of a Dockerfile, and the Dockerfile itself, as BuildKit has them in JSON (pb.Range, pb.SourceInfo)."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from corten.spec.json import Json


def ranges(lines: Iterable[tuple[int, int]]) -> list[Json]:
    """`lines` are first and last ones, from 1."""
    return [{"start": {"line": first}, "end": {"line": last}} for first, last in lines]


def source(filename: str, text: bytes) -> Json:
    return {"filename": filename, "language": "Dockerfile", "data": base64.b64encode(text).decode()}
