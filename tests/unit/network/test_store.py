"""Networks on record."""

from __future__ import annotations

from typing import cast

import pytest

from corten.network.definition import Definition
from corten.network.driver import Driver
from corten.network.drivers.none import NoneDriver
from corten.network.store import KIND, NetworkStore
from corten.spec.json import Json
from fakes.table import MemoryTable


def test_a_later_daemon_has_them_in_the_same_order() -> None:
    table, drivers = MemoryTable(), {"null": cast(Driver, NoneDriver())}
    store = NetworkStore(table, drivers, has_default=False)
    moments = ["2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.51Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:01Z"]
    for number, created in enumerate(moments):
        made = Definition(f"{9 - number}" * 64, f"n{number}", created, "null", ipv4=False)
        store.store(store.activate(made))
    later = NetworkStore(table, drivers, has_default=False)
    later.load()
    assert [network.definition.name for network in later.values()] == ["n0", "n1", "n2", "n3"]


@pytest.mark.parametrize("body", [{}, {"id": 1, "name": "b"}, {"id": "b", "name": "b", "created": "x", "ranges": [7]}])
def test_a_broken_record_hides_no_other(caplog: pytest.LogCaptureFixture, body: Json) -> None:
    table, drivers = MemoryTable(), {"null": cast(Driver, NoneDriver())}
    table.put(KIND, "b", body)
    store = NetworkStore(table, drivers, has_default=False)
    store.store(store.activate(Definition("a" * 64, "good", "2026-01-01T00:00:00Z", "null", ipv4=False)))
    later = NetworkStore(table, drivers, has_default=False)
    later.load()
    assert [network.definition.name for network in later.values()] == ["good"]
    assert "the record of network b cannot be read" in caplog.text
    assert table.list(KIND)["b"] == body
