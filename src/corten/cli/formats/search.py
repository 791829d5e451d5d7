"""The rows of `search`."""

from __future__ import annotations

from corten.cli.formats.listing import Row, Shape, ellipsis

COLUMNS = ("Name", "Description", "StarCount", "IsOfficial")
WIDTH = 45


def _description(row: Row) -> str:
    text = str(row.data.get("description") or "").replace("\n", " ").replace("\r", " ")
    return text if row.full else ellipsis(text, WIDTH)


def _shape(yes: str, no: str) -> Shape:
    return Shape(
        "searchContext",
        {
            "Name": lambda row: row.data["name"],
            "Description": _description,
            "StarCount": lambda row: str(row.data.get("star_count") or 0),
            "IsOfficial": lambda row: yes if row.data.get("is_official") else no,
        },
        {"Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL"},
    )


RESULT = _shape("[OK]", "")
# Docker's JSON says it in words.
RESULT_JSON = _shape("true", "false")
