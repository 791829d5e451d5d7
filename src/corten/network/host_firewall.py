"""This daemon's firewall table: opened when the first network needs it, and restored when another program changed it.

A daemon without such networks changes nothing on its host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from corten.network import sysctls
from corten.network.balance import Place, Targets
from corten.network.firewall import Bridge, Firewall, Published
from corten.network.pins import Pin

_RESTORE_PAUSE = 0.2  # seconds between two repairs: a program that flushes in a loop must not take the daemon's time


class HostFirewall:
    """`warnings` and `changes` are appended to: see `Dataplane`."""

    def __init__(self, name: str, warnings: list[str], changes: list[str]) -> None:
        self._name, self._warnings, self._changes = name, warnings, changes
        self._firewall: Firewall | None = None
        self._restore: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """The table stays. Idempotent."""
        if self._restore is not None:
            self._restore.cancel()
        if self._firewall is not None:
            asyncio.get_running_loop().remove_reader(self._firewall.watch.fileno())
            self._firewall.close()
            self._firewall = None

    def open(self) -> Firewall:
        """The table, claimed. An existing one is left as it is, until `replace`: traffic goes on meanwhile.

        Conflict when another daemon holds it, Failed for a sysctl that cannot be set.
        """
        if self._firewall is not None:
            return self._firewall
        self.changed(sysctls.forward())
        firewall = Firewall(self._name)
        try:
            existed = firewall.present()
            firewall.claim()
            if not existed:
                firewall.replace()
        except BaseException:
            firewall.close()
            raise
        self._firewall = firewall
        self._warnings += [
            f"WARNING: nftables chain {chain} drops what it does not allow to be forwarded: let the bridges pass there"
            for chain in firewall.foreign_drops()
        ]
        if not firewall.owned:
            firewall.observe()
            asyncio.get_running_loop().add_reader(firewall.watch.fileno(), self._disturbed)
        return firewall

    def changed(self, sysctl: str) -> None:
        """A sysctl was set, "name = value"; nothing for the empty text."""
        if sysctl:
            self._changes.append(sysctl)

    def add_bridge(self, bridge: Bridge, now: bool = True) -> None:
        """The rules of a network; without `now` they come with the next `replace`."""
        if now:
            self.open().add_bridge(bridge)
        else:
            self.open().bridges[bridge.name] = bridge

    def drop_bridge(self, name: str) -> None:
        """Idempotent."""
        if self._firewall is not None:
            self._firewall.drop_bridge(name)

    def publish(self, ports: Sequence[Published]) -> None:
        """All or none."""
        if ports:
            self.open().publish(ports)

    def expect(self, ports: Sequence[Published]) -> None:
        """The kernel has these already, see `Firewall.expect`."""
        if ports:
            self.open().expect(ports)

    def unpublish(self, ports: Sequence[Published]) -> None:
        """Idempotent."""
        if ports:
            self.open().unpublish(ports)

    def balance(self, changes: Mapping[Place, Targets], now: bool = True) -> None:
        """See `Firewall.balance`."""
        if changes:
            self.open().balance(changes, now)

    def unbalance(self, places: Iterable[Place]) -> None:
        """Idempotent."""
        if self._firewall is not None:
            self._firewall.unbalance(places)

    def pin(self, pin: Pin) -> None:
        """Nothing else passes by that guest's tap, see `Firewall.pin`."""
        self.open().pin(pin)

    def expect_pin(self, pin: Pin) -> None:
        """The kernel has it already, see `Firewall.expect_pin`."""
        self.open().expect_pin(pin)

    def unpin(self, device: str) -> None:
        """Idempotent."""
        if self._firewall is not None:
            self._firewall.unpin(device)

    def replace(self) -> None:
        """The kernel holds what is wanted, in place of whatever the table holds."""
        if self._firewall is not None:
            self._firewall.replace()

    def remove(self) -> None:
        if self._firewall is not None:
            self._firewall.remove()

    def obstacles(self) -> list[str]:
        """Other tables' chains that may drop what this one allows, as they are now."""
        return self._firewall.foreign_drops() if self._firewall is not None else []

    def _disturbed(self) -> None:
        """Another program changed the table (`nft flush ruleset`, a firewall's reload): restore it."""
        if self._firewall is None or not self._firewall.disturbed() or self._restore is not None:
            return
        self._firewall.replace()
        self._restore = asyncio.get_running_loop().call_later(_RESTORE_PAUSE, self._restore_again)

    def _restore_again(self) -> None:
        """Changes during the pause were read and not acted on; one replacement covers them."""
        self._restore = None
        self.replace()
