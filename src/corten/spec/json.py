"""JSON as it is decoded: for what is JSON by nature, such as labels, raw answers and options without a fixed type."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
