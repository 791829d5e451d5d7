"""nfnetlink against this kernel; Debian's nft says what the kernel understood."""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

from collections.abc import Iterator

import pytest

import netns
from corten.kernel import nft
from corten.kernel.netlink import Message, Request
from corten.kernel.nft import Element, Set, Table
from network_world import host

TABLE = Table(nft.NFPROTO_INET, "corten-t")


@pytest.fixture
def transactions(host: netns.Net) -> Iterator[nft.Transactions]:
    made = nft.Transactions()
    yield made
    made.close()


def test_sets_and_maps_print_as_what_they_are(host: netns.Net, transactions: nft.Transactions) -> None:
    ports = Set("ports", (nft.INET_PROTO, nft.INET_SERVICE), (nft.IPV4_ADDR, nft.INET_SERVICE))
    subnets = Set("subnets", (nft.IPV4_ADDR,), interval=True)
    names = Set("names", (nft.IFNAME,))
    element = Element(nft.value(b"\x06", nft.port(80)), nft.value(bytes((10, 0, 0, 1)), nft.port(8080)))
    transactions.commit(
        [
            nft.new_table(TABLE),
            nft.new_set(TABLE, ports, 1),
            nft.new_set(TABLE, subnets, 2),
            nft.new_set(TABLE, names, 3),
            *nft.add_elements(TABLE, "ports", [element]),
            *nft.add_elements(
                TABLE, "subnets", [Element(bytes((10, 0, 0, 0))), Element(bytes((10, 1, 0, 0)), end=True)]
            ),
            *nft.add_elements(TABLE, "names", [Element(nft.ifname("eth0"))]),
        ]
    )
    text = " ".join(host.run("nft", "list", "table", "inet", "corten-t").split())
    assert "type inet_proto . inet_service : ipv4_addr . inet_service elements = { tcp . 80 : 10.0.0.1 . 8080 }" in text
    assert "type ipv4_addr flags interval elements = { 10.0.0.0/16 }" in text
    assert 'type ifname elements = { "eth0" }' in text
    assert transactions.elements(TABLE, "ports") == [element]


def test_a_rule_prints_as_it_was_meant(host: netns.Net, transactions: nft.Transactions) -> None:
    row = nft.meta(nft.IIFNAME, 0) + nft.compare(0, nft.ifname("lo"), nft.NEQ)
    row += nft.ct(nft.CT_STATE, 0) + nft.any_bit(0, nft.STATE_ESTABLISHED | nft.STATE_RELATED)
    transactions.commit(
        [
            nft.new_table(TABLE),
            nft.base_chain(TABLE, "forward", "filter", nft.FORWARD, 0),
            nft.rule(TABLE, "forward", row, nft.counter(), nft.verdict(nft.DROP)),
        ]
    )
    listed = host.run("nft", "list", "chain", "inet", "corten-t", "forward")
    assert 'iifname != "lo" ct state established,related counter packets 0 bytes 0 drop' in listed


def test_a_batch_is_done_whole_or_not_at_all(transactions: nft.Transactions) -> None:
    names = Set("names", (nft.IFNAME,))
    with pytest.raises(FileNotFoundError, match="add rule nowhere"):
        transactions.commit(
            [nft.new_table(TABLE), nft.new_set(TABLE, names, 1), nft.rule(TABLE, "nowhere", nft.counter())]
        )
    assert transactions.tables() == []
    transactions.commit([nft.new_table(TABLE), nft.new_set(TABLE, names, 1)])
    present, absent = Element(nft.ifname("a")), Element(nft.ifname("b"))
    transactions.commit(nft.add_elements(TABLE, "names", [present]))
    with pytest.raises(FileNotFoundError, match="delete element"):
        transactions.commit(nft.delete_elements(TABLE, "names", [present, absent]))
    assert transactions.elements(TABLE, "names") == [present]


def test_more_elements_than_fit_one_message(transactions: nft.Transactions) -> None:
    ports = Set("ports", (nft.INET_PROTO, nft.INET_SERVICE), (nft.IPV4_ADDR, nft.INET_SERVICE))
    every = [
        Element(nft.value(b"\x06", nft.port(n)), nft.value(bytes((10, 0, 0, 1)), nft.port(n))) for n in range(1, 3001)
    ]
    transactions.commit([nft.new_table(TABLE), nft.new_set(TABLE, ports, 1), *nft.add_elements(TABLE, "ports", every)])
    assert sorted(transactions.elements(TABLE, "ports")) == sorted(every)


def test_a_set_that_is_rearranged_while_it_is_listed(
    transactions: nft.Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Datagrams of one order and of another: what comes twice is not all."""
    ports = Set("ports", (nft.INET_PROTO, nft.INET_SERVICE), (nft.IPV4_ADDR, nft.INET_SERVICE))
    every = [
        Element(nft.value(b"\x06", nft.port(n)), nft.value(bytes((10, 0, 0, 1)), nft.port(n))) for n in range(1, 3001)
    ]
    transactions.commit([nft.new_table(TABLE), nft.new_set(TABLE, ports, 1), *nft.add_elements(TABLE, "ports", every)])
    dump, given = transactions.socket.dump, []

    def rearranged(request: Request) -> list[Message]:
        given.append(dump(request))
        return given[-1] if len(given) > 1 else [given[0][0], *given[0][:-1]]

    monkeypatch.setattr(transactions.socket, "dump", rearranged)
    assert sorted(transactions.elements(TABLE, "ports")) == sorted(every)
    assert len(given) > 1
    transactions.commit(nft.delete_elements(TABLE, "ports", every))
    assert transactions.elements(TABLE, "ports") == []


def test_base_chains_of_other_tables_with_their_policies(host: netns.Net, transactions: nft.Transactions) -> None:
    host.run(
        "nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }"
    )
    (found,) = transactions.chains()
    assert found == nft.Chain(nft.NFPROTO_IPV4, "filter", "FORWARD", nft.FORWARD, nft.DROP)


def test_an_owned_table_survives_a_flush_and_its_owner(host: netns.Net, transactions: nft.Transactions) -> None:
    flags = nft.NFT_TABLE_F_OWNER | nft.NFT_TABLE_F_PERSIST
    try:
        transactions.commit([nft.new_table(TABLE, flags)])
    except OSError as error:
        if nft.unsupported(error):
            pytest.skip("this kernel has no persistent owned tables (Linux 6.9)")
        raise
    host.run("nft", "flush", "ruleset")
    assert transactions.tables() == [TABLE]
    second = nft.Transactions()
    with pytest.raises(PermissionError):
        second.commit([nft.new_table(TABLE, flags)])
    transactions.close()
    second.commit([nft.new_table(TABLE, flags)])  # orphaned, and adopted
    second.commit([nft.delete_table(TABLE)])
    second.close()


def test_a_notification_names_the_table_and_who_changed_it(host: netns.Net, transactions: nft.Transactions) -> None:
    from corten.kernel.netlink import NETLINK_NETFILTER, Socket

    with Socket(NETLINK_NETFILTER) as watch:
        watch.join(nft.NFNLGRP_NFTABLES)
        transactions.commit([nft.new_table(TABLE)])
        ours = [m for m in watch.notifications() if nft.changed_table(m) == "corten-t"]
        assert {m.port for m in ours} == {transactions.socket.port}
        host.run("nft", "flush", "ruleset")
        theirs = [m for m in watch.notifications() if nft.changed_table(m) == "corten-t"]
        assert theirs
        assert transactions.socket.port not in {m.port for m in theirs}
