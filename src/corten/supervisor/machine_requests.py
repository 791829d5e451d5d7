"""What a daemon asks of a machine's supervisor: the first request, which says what machine it is, and those after it.

    first     `Begin`, with the descriptors of `vm.board.files`, then one tap for each interface, and with `names` a
              socket that asks the name server
    ask       a command of QEMU's monitor with its arguments, and descriptors
    agent     a command of QEMU's agent in the guest
    attach    a client's connection becomes one of the console's
    write log what the console has said until now is in the log
    names     the socket that asks the name server is another one
    interface a tap that is plugged in, what DHCP gives there, and the address that is asked for names
    kill      QEMU is killed
    reach     nothing: the answer says that this process goes on

What commands there are the daemon knows: it may be newer than this process, which lives for months.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from corten.spec.dhcp import Lease
from corten.vm import board
from corten.vm.board import Board

Json = dict[str, Any]
VERSION = SERVES_LATER = 2  # the first version that answers on interfaces that are plugged in


class Begin(NamedTuple):
    """`run`: the directory of the socket. `directory`: where exit.json is written. `log`: path, largest size, files.
    `leases`: of each interface, what it is given by DHCP. `names`: of each, the address that it asks for names,
    or ""; none of all for a machine without a name server."""

    id: str
    run: str
    directory: str
    cgroup: str
    resources: Json
    log: tuple[str, int, int]
    board: Board
    leases: tuple[Lease | None, ...] = ()
    names: tuple[str, ...] = ()


def encode(request: Begin) -> Json:
    return {"do": "begin", **request._asdict(), "board": request.board._asdict(),
            "leases": [lease and lease._asdict() for lease in request.leases]}  # fmt: skip


def decode(message: Json) -> Begin:
    path, size, count = message["log"]
    return Begin(
        message["id"],
        message["run"],
        message["directory"],
        message["cgroup"],
        dict(message["resources"]),
        (path, size, count),
        board.decode(message["board"]),
        tuple(map(lease, message.get("leases") or ())),
        tuple(map(str, message.get("names") or ())),
    )


def lease(given: Json | None) -> Lease | None:
    return Lease(**given) if given else None
