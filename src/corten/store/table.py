"""The protocol of the table of records, for the modules that keep records in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from corten.spec.json import Json


class Table(Protocol):
    """JSON objects by kind and id (`corten.store.records.Records`). A write is durable when it returns."""

    def put(self, kind: str, id: str, body: Json) -> None: ...

    def delete(self, kind: str, id: str) -> None: ...

    def list(self, kind: str) -> Mapping[str, Json]: ...
