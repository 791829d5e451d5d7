"""The table of records in memory (`corten.store.table.Table`), for code that forks or needs no disk.

`tests/contract/test_table.py` holds it to what the one on disk does.
"""

from __future__ import annotations

import json

from corten.spec.json import Json


class MemoryTable:
    """Records as JSON, so that nothing that cannot be stored gets by."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], str] = {}

    def put(self, kind: str, id: str, body: Json) -> None:
        self.rows[kind, id] = json.dumps(body)

    def delete(self, kind: str, id: str) -> None:
        self.rows.pop((kind, id), None)

    def rename(self, kind: str, id: str, new: str, body: Json) -> None:
        self.put(kind, new, body)
        self.delete(kind, id)

    def list(self, kind: str) -> dict[str, Json]:
        return {id: json.loads(body) for (k, id), body in sorted(self.rows.items()) if k == kind}
