"""The golden matrix with real containers: from which kind of network which kind is reached, and how.

Every network has a server and a client. A server is reached at its own address ("direct"), or at what it published:
port 80xx of every address of the host ("published"), 90xx of 127.0.0.1 ("loopback"). "hosted" has the host's network,
and is reached at the host's address.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.secluded import Host
from fault_parts.fragile import until
from netns import Net

NETWORKS: dict[str, dict[str, Any]] = {
    "bridge": {},
    "red": {},
    "shy": {"Options": {"com.docker.network.bridge.enable_icc": "false"}},
    "vault": {"Internal": True},
    "stack": {"Driver": "macvlan"},
}
SOURCES = (
    "outside",
    "host",
    "hosted",
    "bridge",
    "red",
    "shy",
    "vault",
    "stack",
    "none",
    "red's",
)  # "red's": container:X

# Which sources reach a target; the order of SOURCES. "." is no, "x" is yes.
MATRIX = {
    ("bridge", "direct"): ".xxx......",
    ("red", "direct"): ".xx.x....x",
    ("shy", "direct"): ".xx.......",
    ("vault", "direct"): ".xx...x...",
    ("stack", "direct"): ".......x..",
    ("bridge", "published"): "xxxxxx...x",
    ("red", "published"): "xxxxxx...x",
    ("shy", "published"): "xxxxxx...x",
    ("vault", "published"): "..........",  # nothing of an internal network is published
    ("stack", "published"): "..........",
    ("bridge", "loopback"): ".xx.......",
    ("red", "loopback"): ".xx.......",
    ("shy", "loopback"): ".xx.......",
    ("vault", "loopback"): "..........",
    ("stack", "loopback"): "..........",
    ("hosted", "direct"): "xxxxxx...x",
}
# A second for what is not to be reached. What is, is waited for: this machine may be busy. "-" stands between them.
PROBE = """
seconds=60
for t in $*; do
    [ $t = - ] && seconds=1 && continue
    (timeout $seconds wget -qO- http://$t/ >/dev/null 2>&1 && echo $t) &
done
wait
"""


class Matrix(Host):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.places: dict[tuple[str, str], str] = {}
        self.clients: dict[str, str] = {}

    def build(self) -> None:
        self.daemon.start()
        self.net.run("sh", "-c", "echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables || true")
        for number, (name, request) in enumerate(NETWORKS.items()):
            if name != "bridge":
                self.network(name, **request)
            published = {
                "80/tcp": [{"HostPort": f"80{number:02}"}, {"HostIp": "127.0.0.1", "HostPort": f"90{number:02}"}]
            }
            self.places[name, "direct"] = str(
                self.endpoint(self.serve(f"srv-{name}", name, published), name)["IPAddress"]
            )
            self.places[name, "published"] = f"192.0.2.1:80{number:02}"
            self.places[name, "loopback"] = f"127.0.0.1:90{number:02}"
            self.clients[name] = self.idle(f"cli-{name}", name)
        hosted = "echo hello >/tmp/index.html; exec httpd -f -p 7070 -h /tmp"
        self.clients["hosted"] = self.daemon.run("sh", "-c", hosted, host={"NetworkMode": "host"})
        self.clients["none"] = self.idle("cli-none", "none")
        self.clients["red's"] = self.idle("cli-joined", "container:cli-red")
        self.places["hosted", "direct"] = "192.0.2.1:7070"
        own = self.places["hosted", "direct"]
        until(lambda: own in self.reached_from(self.net, "host"), "the server on the host's network")

    def targets(self, source: str) -> list[str]:
        """The arguments of PROBE."""
        reached = {self.places[target] for target, row in MATRIX.items() if row[SOURCES.index(source)] == "x"}
        return [*reached, "-", *(place for place in self.places.values() if place not in reached)]

    def reached_from(self, net: Net, source: str) -> set[str]:
        return set(net.run("busybox", "sh", "-c", PROBE, "sh", *self.targets(source)).split())

    def reached_in(self, client: str) -> set[str]:
        return set(self.daemon.inside(self.clients[client], "sh", "-c", PROBE, "sh", *self.targets(client))[1].split())


@pytest.fixture
def matrix(tmp_path: Path) -> Iterator[Matrix]:
    made = Matrix(tmp_path)
    yield made
    made.close()


def test_the_matrix(matrix: Matrix) -> None:
    outside = matrix.neighbour()
    matrix.build()
    reached = {source: matrix.reached_in(source) for source in matrix.clients}
    reached |= {"outside": matrix.reached_from(outside, "outside"), "host": matrix.reached_from(matrix.net, "host")}
    found = {
        target: "".join("x" if matrix.places[target] in reached[source] else "." for source in SOURCES)
        for target in MATRIX
    }
    assert found == MATRIX
