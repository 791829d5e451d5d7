"""Names and traffic: what programs in containers feel of a network."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from bench import commands
from bench.measure import Failed, Subject, Table, Target, alternate
from bench.peers import Daemon
from bench.stage import Stage, Work
from bench.works.containers import running
from bench.works.networks import new_network

LOAD = str(Path(__file__).parents[1] / "load.py")


def names(stage: Stage) -> list[Table]:
    """The name server in a user-defined network, asked for a neighbour by a program in the container's own network."""
    few, number = ("5000", 20_000) if stage.quick else ("10000", 50_000)
    with contextlib.ExitStack() as stack:
        lookups = {}
        for name, daemon in stage.daemons().items():
            host = {"NetworkMode": stack.enter_context(new_network(daemon))}
            stack.enter_context(running(daemon, HostConfig=host, Hostname="web", NetworkingConfig=_alias(host)))
            container = stack.enter_context(running(daemon, HostConfig=host))
            lookups[name] = partial(_load, _pid(daemon, container), "ask", "127.0.0.11", "neighbour")
        one = [Subject(name, partial(lookup, few, "1")) for name, lookup in lookups.items()]
        many = [Subject(name, partial(lookup, str(number), "32")) for name, lookup in lookups.items()]
        target = (Target("Corten", 1, "dockerd"),)
        absent = stage.absent_rows()
        note = "With the start of the Python program that asks: some 30 ms of each."
        return [
            Table(f"{int(few):,} questions for a name, one after the other",
                  alternate([*one, *absent], stage.runs(7, 3)), "dockerd", target, note=note),
            Table(f"{number:,} questions for a name, 32 at a time",
                  alternate([*many, *absent], stage.runs(7, 3)), "dockerd", target),
        ]  # fmt: skip


def _alias(host: dict[str, str]) -> dict[str, Any]:
    return {"EndpointsConfig": {host["NetworkMode"]: {"Aliases": ["neighbour"]}}}


def _pid(daemon: Daemon, container: str) -> int:
    with daemon.connect() as api:
        return int(api.ask("GET", f"/containers/{container}/json")["State"]["Pid"])


def _inside(pid: int) -> list[str]:
    return ["nsenter", "-t", str(pid), "-n"]


def _load(pid: int, *words: str) -> None:
    commands.run([*(_inside(pid) if pid else ()), sys.executable, "-I", "-S", LOAD, *words])


def traffic(stage: Stage) -> list[Table]:
    """TCP with iperf3, and connections one after the other, by every way to a container."""
    size, number = ("500M", 200) if stage.quick else ("4G", 1000)
    with contextlib.ExitStack() as stack:
        bulk: dict[str, list[Subject]] = {"host to container": [], "container to container": [], "published port": []}
        short = []
        for name, daemon in stage.daemons().items():
            ports = {"5201/tcp": [{"HostPort": ""}], "7000/tcp": [{"HostPort": ""}]}
            server = stack.enter_context(
                running(daemon, HostConfig={"PortBindings": ports}, ExposedPorts={port: {} for port in ports})
            )
            client, served = _pid(daemon, stack.enter_context(running(daemon))), _pid(daemon, server)
            _daemon_in(stack, served, "iperf3", "-s")
            _daemon_in(stack, served, sys.executable, LOAD, "accept", "7000")
            with daemon.connect() as api:
                shown = api.ask("GET", f"/containers/{server}/json")["NetworkSettings"]
            address, gateway = shown["IPAddress"], shown["Gateway"]
            published, accepting = (shown["Ports"][port][0]["HostPort"] for port in ("5201/tcp", "7000/tcp"))
            _await(address, 5201)
            _await(address, 7000)
            bulk["host to container"].append(Subject(name, partial(_iperf, [], address, "5201", size)))
            bulk["container to container"].append(
                Subject(name, partial(_iperf, _inside(client), address, "5201", size))
            )
            bulk["published port"].append(Subject(name, partial(_iperf, [], gateway, published, size)))
            short.append(Subject(name, partial(_load, 0, "connect", gateway, accepting, str(number))))
        _let_pass()
        target = (Target("Corten", 1.1, "dockerd"),)
        runs = stage.runs(5, 2)
        tables = [
            Table(f"{size} by TCP, {way}", alternate([*subjects, *stage.absent_rows()], runs), "dockerd", target)
            for way, subjects in bulk.items()
        ]
        rows = alternate([*short, *stage.absent_rows()], runs)
        return [*tables, Table(f"{number:,} connections through a published port", rows, "dockerd", target)]


def _daemon_in(stack: contextlib.ExitStack, pid: int, *command: str) -> None:
    """A server in a container's network, until the end."""
    process = subprocess.Popen([*_inside(pid), *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)


def _await(address: str, port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
            return
        time.sleep(0.02)
    raise Failed(f"nothing listens at {address}:{port}")


def _iperf(enter: list[str], address: str, port: str, size: str) -> None:
    commands.run([*enter, "iperf3", "-c", address, "-p", port, "-n", size])


def _let_pass() -> None:
    """dockerd's firewall drops what it does not know of, with br_netfilter between ports of other bridges as well."""
    commands.run(["iptables", "-P", "FORWARD", "ACCEPT"])


NAMES, TRAFFIC = Work("names", names), Work("traffic", traffic)
