"""What drivers have in common whose endpoints have no end on this host."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from corten.network.definition import Definition
from corten.network.driver import ActiveNetwork, Publishing
from corten.network.endpoint import Endpoint


class UnwatchedDriver:
    """That part of `driver.Driver`: there is nothing that this host could look at, lead ports to, or restore."""

    def attached(self, endpoint: Endpoint) -> bool:
        return True

    def publishing(self, definition: Definition) -> Publishing:
        return Publishing()

    def ports_changed(self, endpoint: Endpoint) -> None:
        return

    def watch(self, networks: Callable[[], Iterable[ActiveNetwork]], on_lost: Callable[[Endpoint], None]) -> None:
        return  # where a parent is gone, it took its containers' devices along; a start looks for it again

    def unwatch(self) -> None:
        return
