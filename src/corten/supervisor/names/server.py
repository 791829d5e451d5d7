"""The process itself, see `long_lived`: what the daemon can say.

    all       networks, containers     everything there is; who is not among the containers is served no more
    put       network, name, container, host     a host of a network, see `directory`
    drop      network, container
    serve     container, servers, open, and two descriptors: UDP, and TCP listening, inside its namespace
    open      container, open     whether one of its networks has a way out
    end       container
    quit

Nothing of it is answered. The hello says which containers are served: {"version", "containers"}.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NoReturn

from corten.kernel import process as p
from corten.supervisor import sockets
from corten.supervisor.long_lived import LongLived, serve
from corten.supervisor.names.directory import Directory
from corten.supervisor.names.service import Service
from corten.supervisor.names.upstreams import Upstreams

Json = dict[str, Any]


class Server(LongLived):
    def __init__(self, place: int, resolv_conf: str) -> None:
        super().__init__(place, sockets.NAMES)
        self._directory = Directory()
        self._upstreams = Upstreams(self._loop, resolv_conf)
        self._services: dict[str, Service] = {}

    def verbs(self) -> dict[str, Callable[[Json, list[int]], None]]:
        return {
            "all": self._all,
            "put": self._put,
            "drop": self._drop,
            "serve": self._serve,
            "open": self._open,
            "end": self._ended,
            "quit": self._asked_to_quit,
        }

    def hello(self) -> Json:
        return {"version": sockets.NAMES_VERSION, "containers": list(self._services)}

    def containers(self) -> Collection[str]:
        return self._services.keys()

    def end(self, container: str) -> None:
        if (service := self._services.pop(container, None)) is not None:
            service.close()
        self._directory.forget(container)

    # ----------------------------------------------------------------------------------------------- requests

    def _all(self, request: Json, _: list[int]) -> None:
        self._directory.replace(request["networks"])
        for container in set(self._services) - set(request["containers"]):
            self.end(container)
        for container, wanted in request["containers"].items():
            self._set(container, wanted)

    def _put(self, request: Json, _: list[int]) -> None:
        self._directory.put(request["network"], request["name"], request["container"], request["host"])

    def _drop(self, request: Json, _: list[int]) -> None:
        self._directory.drop(request["network"], request["container"])

    def _serve(self, request: Json, fds: list[int]) -> None:
        container = request["container"]
        if (old := self._services.pop(container, None)) is not None:
            old.close()
        udp, tcp = fds
        self._services[container] = Service(self._loop, self._directory, self._upstreams, container, udp, tcp)
        self._set(container, request)

    def _set(self, container: str, request: Json) -> None:
        if (service := self._services.get(container)) is not None:
            service.open = bool(request["open"])
            service.servers = request.get("servers", service.servers)

    def _open(self, request: Json, _: list[int]) -> None:
        self._set(request["container"], request)

    def _ended(self, request: Json, _: list[int]) -> None:
        self.end(request["container"])

    def _asked_to_quit(self, request: Json, _: list[int]) -> None:
        self.quit()


def main(request: Json, fds: list[int]) -> NoReturn:
    """{"resolv_conf"}, and [the daemon's connection, its exec root]. Never returns."""
    p.set_name("corten:names", "name server")
    daemon, place = fds
    serve(daemon, lambda: Server(place, request["resolv_conf"]))
