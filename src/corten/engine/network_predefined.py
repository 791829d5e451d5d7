"""The networks that every daemon has: host, none, and the default bridge as the configuration wants it."""

from __future__ import annotations

import secrets
from dataclasses import replace

from corten.engine.network_known import Known, fresh
from corten.kernel.netlink import Socket
from corten.network import definition as define
from corten.network import subnets
from corten.network.config import NetworkConfig
from corten.network.definition import Definition
from corten.spec.docker import times


def simple(known: Known) -> None:
    """host and none."""
    for name, driver in (("host", "host"), ("none", "null")):
        if known.named(name) is None:
            made = Definition(secrets.token_hex(32), name, times.rfc3339(times.now()), driver, ipv4=False)
            known.store(fresh(made))


def default(known: Known, config: NetworkConfig, route: Socket) -> None:
    """The network "bridge"; a subnet that was chosen before is kept."""
    old = known.named("bridge")
    if config.has_default:
        made = _bridge(known, config, route, old.definition if old is not None else None)
        if old is None or made != old.definition:
            known.store(fresh(made))
    elif old is not None:
        known.forget(old)


def _bridge(known: Known, config: NetworkConfig, route: Socket, old: Definition | None) -> Definition:
    options = {
        define.DEFAULT_BRIDGE: "true",
        define.ICC: str(config.icc).lower(),
        define.MASQUERADE: str(config.masquerade).lower(),
        define.HOST_BINDING: config.host_ip or "0.0.0.0",
        define.BRIDGE_NAME: config.bridge,
        define.MTU: str(config.mtu or 1500),
    }
    wish = Definition(
        id=old.id if old is not None else secrets.token_hex(32),
        name="bridge",
        created=old.created if old is not None else times.rfc3339(times.now()),
        ipv6=config.ipv6,
        options=options,
    )
    wish = replace(wish, ranges=subnets.default_ranges(old.ranges if old is not None else (), config, route))
    return replace(wish, ranges=ranges(known, wish, config, route))


def ranges(known: Known, wish: Definition, config: NetworkConfig, route: Socket) -> tuple[define.Range, ...]:
    """Subnets and gateways of a network that is to be; see `subnets.chosen`."""
    others = [live for live in known.values() if live.definition.id != wish.id]
    return subnets.chosen(wish, others, config, route)
