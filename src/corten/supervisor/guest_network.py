"""The network of a guest while it runs: its interfaces, its default routes, who answers its questions, and the files
that say so. The guest's agent does what is asked here (`corten.guest.agent`); QEMU has the taps."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from corten.errors import Conflict, Invalid, NotFound
from corten.instance.contract import NetworkChange, Plug, Refresh, Route, ServeNames
from corten.supervisor.interfaces import tap_name
from corten.vm import planning
from corten.vm.contract import Interface, Machine

Json = dict[str, Any]
_MOST_FILE = 1 << 20  # bytes of a file that is sent


class Ask(Protocol):
    """`Virtual._ask`: the answer of the agent."""

    def __call__(self, do: str, patience: float | None = None, **fields: Any) -> Any: ...


class Sent(NamedTuple):
    """A file of the engine's own, as the guest has it."""

    file: planning.File
    body: Json


class GuestNetwork:
    """`machine` is there from the first change on, `serve` takes the socket of `ServeNames`."""

    def __init__(self, ask: Ask, machine: Callable[[], Machine], serve: Callable[[int], None]) -> None:
        self._ask, self._machine, self._serve = ask, machine, serve
        self._interfaces: set[str] = set()
        self._files: dict[str, Sent] = {}  # by their place in the guest

    def has(self, interfaces: Iterable[Json]) -> None:
        """From its creation on."""
        self._interfaces |= {interface["name"] for interface in interfaces}

    def files(self, files: Iterable[planning.File]) -> list[Json]:
        """As the agent gets them when the container is made. Invalid, OSError."""
        self._files = {file.path: Sent(file, _read(file)) for file in files}
        return [sent.body for sent in self._files.values()]

    def change(self, change: NetworkChange, fds: Sequence[int]) -> None:
        if isinstance(change, Plug):
            self.attach(change.name, fds[0], change.mac, for_agent(change))
        elif isinstance(change, Route):
            self._ask("gateways", name=change.name, gateways=change.gateways)
        elif isinstance(change, ServeNames):
            self._serve(os.dup(fds[0]))
            self._ask("names")
        else:
            self._refresh(change)

    def attach(self, name: str, device: int, mac: str = "", settings: Json | None = None) -> None:
        """`settings` as of `guest.network.Interface`; without them it is up and no more."""
        tap_name(device)  # Invalid when it is none
        if name in self._interfaces:
            raise Conflict(f"the container has an interface {name}")
        mac = mac or _new_mac()
        self._machine().plug_interface(Interface(name, device, mac))
        try:
            self._ask("interface", **(settings or {"name": name, "mac": mac}))
        except BaseException:
            self._machine().unplug_interface(name)
            raise
        self._interfaces.add(name)

    def detach(self, name: str) -> None:
        """It is unplugged whatever the guest says."""
        if name not in self._interfaces:
            raise NotFound(f"the container has no interface {name}")
        self._interfaces.discard(name)
        try:
            self._ask("no interface", name=name)
        finally:
            self._machine().unplug_interface(name)

    def _refresh(self, _: Refresh) -> None:
        """Those that have changed, in place: each is bound over a name in the container."""
        changed = []
        for sent in self._files.values():
            if sent.file.changes and (body := _read(sent.file)) != sent.body:
                changed.append(Sent(sent.file, body))
        if changed:
            self._ask("files", files=[sent.body for sent in changed])
            self._files |= {sent.file.path: sent for sent in changed}


def for_agent(plug: Plug) -> Json:
    """As the agent gets an interface (`guest.network.Interface`)."""
    return {
        "name": plug.name,
        "mac": plug.mac,
        "mtu": plug.mtu,
        "addresses": list(plug.addresses),
        "routes": [
            {"destination": "::/0" if ":" in gateway else "0.0.0.0/0", "gateway": gateway} for gateway in plug.gateways
        ],
        "neighbours": [],
    }


def _new_mac() -> str:
    """A locally administered address, as the kernel gives its own devices."""
    return (b"\x02" + os.urandom(5)).hex(":")


def _read(file: planning.File) -> Json:
    """At most `_MOST_FILE` bytes; in hexadecimal, as JSON has no bytes. Invalid, OSError."""
    with open(_regular(file.source), "rb") as opened:
        content = opened.read(_MOST_FILE + 1)
        mode = os.fstat(opened.fileno()).st_mode & 0o777
    if len(content) > _MOST_FILE:
        raise Invalid(f"{file.source} is too large to be sent to a guest")
    return {"path": file.path, "content": content.hex(), "mode": mode}


def _regular(path: str) -> int:
    """It may be what a user has bound in the place of the engine's, and is looked at before it is opened: a named pipe
    would hold this process up for ever."""
    seen = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(seen).st_mode):
            raise Invalid(f"{path} is no file whose content could be sent to a guest")
        return os.open(f"/proc/self/fd/{seen}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(seen)
