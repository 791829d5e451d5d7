"""Fields of `--mount=` and `--device=`: comma separated, a field in double quotes may have commas."""

from __future__ import annotations

import csv


def fields(text: str, what: str) -> list[str]:
    """Raises ValueError."""
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(f"failed to parse csv {what}: {error}") from None
    return rows[0] if rows else []
