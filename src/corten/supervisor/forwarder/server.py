"""The process itself, see `long_lived`: what the daemon can say. A port is a text like "tcp/::/8080".

    forward   port, container, to (address and port), and a descriptor: the listening socket, for UDP the bound one
    stop      port, connections (whether they end as well); answered {"event": "stopped", "port"} when it is free
    all       ports     those that are wanted; others are stopped
    quit

The hello has {"version", "ports": {port: container}}.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple, NoReturn

from corten.kernel import process as p
from corten.supervisor import sockets
from corten.supervisor.forwarder.datagrams import DatagramPort
from corten.supervisor.forwarder.streams import StreamPort
from corten.supervisor.long_lived import LongLived, serve

Json = dict[str, Any]

_KINDS: dict[str, type[StreamPort] | type[DatagramPort]] = {"tcp": StreamPort, "udp": DatagramPort}


class Open(NamedTuple):
    container: str
    port: StreamPort | DatagramPort


class Server(LongLived):
    def __init__(self, place: int) -> None:
        super().__init__(place, sockets.FORWARDER)
        self._ports: dict[str, Open] = {}
        self._stopped: list[Open] = []  # their connections go on

    def verbs(self) -> dict[str, Callable[[Json, list[int]], None]]:
        return {"forward": self._forward, "stop": self._stop, "all": self._all, "quit": self._asked_to_quit}

    def hello(self) -> Json:
        return {
            "version": sockets.FORWARDER_VERSION,
            "ports": {name: one.container for name, one in self._ports.items()},
        }

    def containers(self) -> Collection[str]:
        self._stopped = [one for one in self._stopped if one.port.connections]
        return {one.container for one in (*self._ports.values(), *self._stopped)}

    def end(self, container: str) -> None:
        for name in [name for name, one in self._ports.items() if one.container == container]:
            self._ports.pop(name).port.close()
        for one in self._stopped:
            if one.container == container:
                one.port.close()

    # ----------------------------------------------------------------------------------------------- requests

    def _forward(self, request: Json, fds: list[int]) -> None:
        name, (address, port) = request["port"], request["to"]
        self._end_port(name, connections=False)
        kind = _KINDS[name.partition("/")[0]]
        self._ports[name] = Open(request["container"], kind(self._loop, fds[0], (address, port)))

    def _stop(self, request: Json, _: list[int]) -> None:
        self._end_port(request["port"], request["connections"])
        self.say({"event": "stopped", "port": request["port"]})

    def _end_port(self, name: str, connections: bool) -> None:
        one = self._ports.pop(name, None)
        if one is None:
            return
        if connections:
            one.port.close()
        else:
            one.port.stop()
            self._stopped = [*(old for old in self._stopped if old.port.connections), one]

    def _all(self, request: Json, _: list[int]) -> None:
        for name in set(self._ports) - set(request["ports"]):
            self._end_port(name, connections=True)

    def _asked_to_quit(self, request: Json, _: list[int]) -> None:
        """Not while there are connections: then it ends with the last container of them."""
        if not self.containers():
            self.quit()


def main(request: Json, fds: list[int]) -> NoReturn:
    """{}, and [the daemon's connection, its exec root]. Never returns."""
    p.set_name("corten:forward", "port forwarder")
    daemon, place = fds
    serve(daemon, lambda: Server(place))
