"""Forgetting flows holds nothing open: one daemon had a socket more since the first flow of the machine."""

import pytest

from corten.kernel.netlink import Socket
from corten.network import flows


async def test_no_socket_outlives_what_it_was_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "_any_flow", lambda: True)
    used: list[tuple[Socket, int, str]] = []
    warnings: list[str] = []
    forgets = flows.Flows(warnings)
    for port in ("80", "81"):
        await forgets.forget(lambda conntrack, which: used.append((conntrack, conntrack.fileno(), which)), port)
    assert [which for *_, which in used] == ["80", "81"]
    assert all(then >= 0 and conntrack.fileno() == -1 for conntrack, then, _ in used)
    assert warnings == []
