"""The default bridge of a daemon without one in its configuration: that of its earlier runs, or the first free name.

So daemons that have nothing but roots and sockets of their own run side by side. A device's alias names the daemon that
it belongs to (`links.HostLinks`). A name is taken by making its device, down and without an address, before the lock is
released; `Bridges.ensure` makes a whole bridge of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import replace

from corten.errors import Exhausted
from corten.kernel import nft, rtnetlink
from corten.kernel.netlink import Socket
from corten.kernel.rtnetlink import Link
from corten.network import options, subnets
from corten.network.config import NetworkConfig
from corten.network.links import alias_of
from corten.network.store import definitions
from corten.store.table import Table

_NAMES = [f"corten{number}" for number in range(1000)]
_CHOSEN = re.compile(r"corten[0-9]{1,3}")


def chosen(config: NetworkConfig, records: Table) -> NetworkConfig:
    """The configuration with a bridge: its own where it has one. Exhausted when no name is free."""
    if config.bridge:
        return config
    recorded = _recorded(records)
    with subnets.lock(), Socket() as route:
        tables = _tables()
        for name in dict.fromkeys([*recorded, *_NAMES]):
            link = rtnetlink.link_named(route, name)
            if _available(name, link, config.owner, f"corten-{name}" in tables, name in recorded):
                if link is None:
                    _reserve(route, name, config.owner)
                return replace(config, bridge=name, tag=name)
    raise Exhausted(f"every bridge from {_NAMES[0]} to {_NAMES[-1]} is another daemon's: choose one by --bridge")


def _reserve(route: Socket, name: str, owner: str) -> None:
    mac = (b"\x02\x42" + os.urandom(4)).hex(":")
    route.request(rtnetlink.bridge(name, mac), rtnetlink.alias(name, alias_of(name, owner)))


def _available(name: str, link: Link | None, owner: str, has_table: bool, recorded: bool) -> bool:
    """It is not another daemon's. The alias of an older version has no owner: then it is that of the record."""
    if link is None:
        return recorded or not has_table
    if link.alias == alias_of(name, ""):
        return recorded
    if link.alias.startswith(alias_of(name, "") + " "):
        return link.alias == alias_of(name, owner)
    return link.kind == "bridge" and (recorded or not has_table)  # an administrator's


def _recorded(records: Table) -> list[str]:
    """The bridge that this daemon chose before. One that `--bridge` gave is not its choice."""
    names = [one.options.get(options.BRIDGE_NAME, "") for one in definitions(records) if one.default_bridge]
    return [name for name in names if _CHOSEN.fullmatch(name)]


def _tables() -> Collection[str]:
    try:
        transactions = nft.Transactions()
    except OSError:  # no netfilter, and so no tables
        return ()
    try:
        return {table.name for table in transactions.tables()}
    finally:
        transactions.close()
