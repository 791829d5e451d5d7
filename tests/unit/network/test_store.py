"""Networks on record."""

from __future__ import annotations

from typing import cast

from corten.network.definition import Definition
from corten.network.driver import Driver
from corten.network.drivers.none import NoneDriver
from corten.network.store import NetworkStore
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
