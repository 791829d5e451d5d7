"""How ssh reaches a machine: by the port that it has published, or by its address, with a name for its host key."""

from __future__ import annotations

import socket
from contextlib import suppress

from corten.cli.errors import CommandError
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.session import Session


class Way:
    """`options` for ssh and scp."""

    __slots__ = ("host", "options", "port")

    def __init__(self, host: str, port: int, options: list[str]) -> None:
        self.host, self.port, self.options = host, port, options


def reached(session: Session, name: str, port: int) -> Way:
    """Raises CommandError for a machine that has no address, or that cannot be reached from here."""
    shown = machines.inspect(session.client, name)
    if not shown["State"]["Running"]:
        raise CommandError(f"machine {name} is not running: corten vm start {name}")
    engine = session.client.address
    # another machine has its address next week: host keys are known by the machine's id
    id = shown["Id"][:12]
    if not id.isalnum():
        raise CommandError(f"the daemon's answer has an id that is none: {id!r}")
    options = ["-o", f"HostKeyAlias=corten-{id}", "-o", "StrictHostKeyChecking=accept-new"]
    published = shown["NetworkSettings"]["Ports"].get(f"{port}/tcp") or ()
    if published:
        given = published[0]["HostIp"] or "0.0.0.0"
        local = given in ("0.0.0.0", "::")
        host = (engine.host or "127.0.0.1") if local else given
        if not engine.program:
            return Way(host if local else _checked(host), int(published[0]["HostPort"]), options)
        host = "127.0.0.1" if local else _checked(given)
        return Way(host, int(published[0]["HostPort"]), [*options, *_jump(session)])
    address = next(filter(None, map(_address, shown["NetworkSettings"]["Networks"].values())), "")
    if not address:
        raise CommandError(f"machine {name} has no address: it is in no network with one")
    if engine.host:
        raise CommandError(f"{session.host} is another host, and the machine publishes no port {port}: create it with "
                           f"--publish 2222:{port}")  # fmt: skip
    return Way(_checked(address), port, [*options, *(_jump(session) if engine.program else [])])


def _address(settings: dict[str, Any]) -> str:
    return str(settings.get("IPAddress") or settings.get("GlobalIPv6Address") or "")


def _checked(host: str) -> str:
    """What a daemon says: ssh takes a word that begins with - for an option, and runs what some of those name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, host)
            return host
    raise CommandError(f"the daemon's answer has an address that is none: {host[:80]!r}")


def _jump(session: Session) -> list[str]:
    """By way of the engine's host, which is reached by ssh as well."""
    return ["-J", session.host.removeprefix("ssh://").partition("/")[0]]
