"""HostConfig.BalancedPorts: what a create takes."""

from __future__ import annotations

import pytest

from corten.errors import Invalid
from corten.plan.validate.balance import MOST, check_balanced_ports
from corten.spec.docker.host_config import BalancedPort, HostConfig

GOOD = BalancedPort(group="shop/web", port="80/tcp", host_port="8080")


def test_what_is_taken() -> None:
    check_balanced_ports(HostConfig(balanced_ports=[GOOD, GOOD.replace(host_ip="::1"), GOOD.replace(port="80/udp")]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"group": ""}, "a balanced port has no group"),
        ({"group": "a\nb"}, "group of a balanced port"),
        ({"port": "80-81/tcp"}, "it is one port of the container"),
        ({"port": "0/tcp"}, "it is one port of the container"),
        ({"port": "80/icmp"}, "invalid proto"),
        ({"host_port": ""}, "needs one port of this host"),
        ({"host_port": "8080-8081"}, "needs one port of this host"),
        ({"host_port": "70000"}, "invalid port specification"),
        ({"host_ip": "localhost"}, "invalid IP address of a balanced port"),
    ],
)
def test_what_is_refused(changes: dict[str, str], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        check_balanced_ports(HostConfig(balanced_ports=[GOOD.replace(**changes)]))


def test_what_excludes_one_another() -> None:
    with pytest.raises(Invalid, match="8080/tcp of this host is given twice"):
        check_balanced_ports(HostConfig(balanced_ports=[GOOD, GOOD.replace(group="other")]))
    with pytest.raises(Invalid, match="a network that is not the container's own"):
        check_balanced_ports(HostConfig(balanced_ports=[GOOD], network_mode="host"))
    with pytest.raises(Invalid, match=f"{MOST} balanced ports at most"):
        check_balanced_ports(HostConfig(balanced_ports=[GOOD] * (MOST + 1)))
