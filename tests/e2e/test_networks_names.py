"""Names and links between real containers."""

from __future__ import annotations

import json
from collections.abc import Callable

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE
from e2e_parts.webs import address, ask, idle, inside, resolves, serve
from fault_parts.fragile import until


def test_containers_find_each_other_by_name_alias_and_id(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    serve(docker, "web", "--network", network, "--network-alias", "shop")
    idle(docker, "client", "--network", network)
    id = docker.out("inspect", "--format", "{{.Id}}", "web")
    for name in ("web", "shop", f"web.{network}", id[:12], "WEB"):
        assert ask(docker, "client", name) == "hello from web"
    assert inside(docker, "client", "cat", "/etc/resolv.conf").splitlines()[0] == "nameserver 127.0.0.11"
    assert not resolves(docker, "client", "no-such-name")
    found = inside(docker, "client", "nslookup", address(docker, "web", network))
    assert f"web.{network}" in found


def test_a_hostname_is_known_to_itself_and_to_others(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    serve(docker, "web", "--network", network, "--hostname", "www.shop.example")
    idle(docker, "asker", "--network", network)
    for name in ("web", "asker"):
        assert resolves(docker, name, "www.shop.example")
    shown = json.loads(docker.out("inspect", "web"))[0]
    assert shown["NetworkSettings"]["Networks"][network]["DNSNames"] == ["web", shown["Id"][:12], "www.shop.example"]
    docker("rename", "web", "store")
    assert resolves(docker, "asker", "www.shop.example") and not resolves(docker, "asker", "web")


def test_one_alias_of_several_containers_has_all_addresses(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    for name in ("one", "two"):
        idle(docker, name, "--network", network, "--network-alias", "pool")
    found = inside(docker, "one", "nslookup", "pool")
    assert all(address(docker, name, network) in found for name in ("one", "two"))
    docker("rm", "-f", "two")
    assert not resolves(docker, "one", "two")


def test_a_container_that_starts_again_is_found_again(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    serve(docker, "web", "--network", network)
    idle(docker, "client", "--network", network)
    docker("stop", "-t", "0", "web")
    assert not resolves(docker, "client", "web")
    docker("start", "web")
    until(lambda: ask(docker, "client", "web", code=None) == "hello from web", "web serves again")


def test_rename_is_known_at_once(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    idle(docker, "old", "--network", network)
    idle(docker, "client", "--network", network)
    docker("rename", "old", "new")
    assert resolves(docker, "client", "new") and not resolves(docker, "client", "old")
    assert "new" in docker.out("network", "inspect", network)
    assert json.loads(docker.out("inspect", "new"))[0]["NetworkSettings"]["Networks"][network]["DNSNames"][0] == "new"


def test_the_default_network_has_no_names_but_links(docker: Client) -> None:
    serve(docker, "web")
    done = docker("run", "--rm", "--link", "web:db", IMAGE, "sh", "-c", "wget -qO- http://db; cat /etc/resolv.conf")
    assert "hello from web" in done.out and "127.0.0.11" not in done.out
    assert docker("run", "--rm", IMAGE, "ping", "-c1", "-W1", "web", code=None).code != 0
    idle(docker, "linked", "--link", "web:db")
    old = address(docker, "web", "bridge")
    docker("stop", "-t", "0", "web")

    def taken() -> bool:
        docker("rm", "-f", "other", code=None)
        idle(docker, "other")
        return address(docker, "other", "bridge") == old

    until(taken, "another container has the address")
    docker("start", "web")
    assert (new := address(docker, "web", "bridge")) != old
    assert f"{new}\tdb " in inside(docker, "linked", "cat", "/etc/hosts")
    docker("stop", "-t", "0", "web")
    assert "Cannot link to a non running container" in docker("run", "--link", "web:db", IMAGE, code=125).err


def test_links_in_a_network_are_names_of_one_container(docker: Client, net: Callable[..., str]) -> None:
    network = net()
    serve(docker, "web", "--network", network)
    idle(docker, "linked", "--network", network, "--link", "web:db")
    idle(docker, "other", "--network", network)
    assert ask(docker, "linked", "db") == "hello from web"
    assert not resolves(docker, "other", "db")
