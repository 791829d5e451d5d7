"""The networks that every daemon has: host, none, and the default bridge as it is configured."""

from __future__ import annotations

import secrets
from dataclasses import replace

from corten.kernel.netlink import Socket
from corten.network import options, subnets
from corten.network.config import NetworkConfig
from corten.network.definition import Definition, Range
from corten.network.store import NetworkStore
from corten.spec.docker import times


def without_addresses(store: NetworkStore) -> None:
    """host and none."""
    for name, driver in (("host", "host"), ("none", "null")):
        if store.named(name) is None:
            made = Definition(secrets.token_hex(32), name, times.rfc3339(times.now()), driver, ipv4=False)
            store.store(store.activate(made))


def default(store: NetworkStore, config: NetworkConfig, route: Socket) -> None:
    """The network "bridge"; a subnet that was chosen before is kept."""
    old = store.named("bridge")
    if config.has_default:
        made = _bridge(store, config, route, old.definition if old is not None else None)
        if old is None or made != old.definition:
            store.store(store.activate(made))
    elif old is not None:
        store.forget(old)


def _bridge(store: NetworkStore, config: NetworkConfig, route: Socket, old: Definition | None) -> Definition:
    chosen = {
        options.DEFAULT_BRIDGE: "true",
        options.ICC: str(config.icc).lower(),
        options.MASQUERADE: str(config.masquerade).lower(),
        options.HOST_BINDING: config.host_ip or "0.0.0.0",
        options.BRIDGE_NAME: config.bridge,
        options.MTU: str(config.mtu or 1500),
    }
    if config.cluster:
        chosen[options.CLUSTER] = ",".join(map(str, config.cluster))
        chosen |= {f"{options.GATEWAY_MODE}{subnet.version}": "nat-unprotected" for subnet in config.cluster}
    made = Definition(
        id=old.id if old is not None else secrets.token_hex(32),
        name="bridge",
        created=old.created if old is not None else times.rfc3339(times.now()),
        ipv6=config.ipv6,
        options=chosen,
    )
    made = replace(made, ranges=subnets.default_ranges(old, config, route))
    return replace(made, ranges=ranges(store, made, config, route))


def ranges(store: NetworkStore, made: Definition, config: NetworkConfig, route: Socket) -> tuple[Range, ...]:
    """Subnets and gateways of a network that is to be; see `subnets.chosen`."""
    others = [network for network in store.values() if network.definition.id != made.id]
    return subnets.chosen(made, store.gateway_device(made), others, config, route)
