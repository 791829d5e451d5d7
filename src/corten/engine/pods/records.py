"""What is known of a pod beyond one run of the daemon, stored as JSON in the store's table of records."""

from __future__ import annotations

from typing import Literal

import msgspec

from corten.errors import Corrupt
from corten.spec.json import Json
from corten.spec.protobuf import cri
from corten.store.table import Table

KIND = "pod"
_ATTACHED = "pod-network"
NETWORK = "bridge"  # what pods are connected to: our own default network


class Record(msgspec.Struct, omit_defaults=True):
    """One pod. `config` is as it was asked for; `created` in nanoseconds since the epoch; `guest`: its containers are
    in one; `endpoints` as the network room can adopt them again, by network."""

    id: str
    created: int
    config: cri.PodSandboxConfig
    handler: str = ""
    guest: bool = False
    state: Literal["ready", "stopped"] = "ready"
    endpoints: dict[str, Json] = {}
    addresses: list[str] = []

    @property
    def metadata(self) -> cri.PodSandboxMetadata:
        return self.config.metadata or cri.PodSandboxMetadata()

    @property
    def name(self) -> str:
        return name_of(self.metadata)

    @property
    def on_host(self) -> bool:
        """Whether it is in the host's network."""
        context = self.config.linux.security_context if self.config.linux else None
        options = context.namespace_options if context else None
        return options is not None and options.network == cri.NamespaceMode.NODE


class Network(msgspec.Struct):
    """A list of CNI plugins. `file` is where it comes from, `collects` whether GC may be called."""

    name: str
    version: str
    plugins: list[Json]
    file: str = ""
    collects: bool = True


class Attached(msgspec.Struct):
    """A pod that plugins have connected, or are about to: noted first, forgotten when all have undone it."""

    pod: Record
    network: Network
    result: Json = {}


def save_network(table: Table, attached: Attached) -> None:
    table.put(_ATTACHED, attached.pod.id, msgspec.to_builtins(attached))


def network_of(table: Table, pod: str) -> Attached | None:
    return next((each for each in networks(table) if each.pod.id == pod), None)


def networks(table: Table) -> list[Attached]:
    return [msgspec.convert(body, Attached) for body in table.list(_ATTACHED).values()]


def forget_network(table: Table, pod: str) -> None:
    table.delete(_ATTACHED, pod)


def name_of(metadata: cri.PodSandboxMetadata) -> str:
    """What no two pods have at the same time."""
    return f"{metadata.name}_{metadata.namespace}_{metadata.uid}_{metadata.attempt}"


def save(table: Table, record: Record) -> None:
    table.put(KIND, record.id, msgspec.to_builtins(record))


def forget(table: Table, id: str) -> None:
    table.delete(KIND, id)


def load(table: Table) -> tuple[list[Record], list[Corrupt]]:
    """Every record, and an error for each that cannot be read."""
    found, broken = [], []
    for id, body in table.list(KIND).items():
        try:
            found.append(msgspec.convert(body, Record))
        except msgspec.ValidationError as error:
            broken.append(Corrupt(f"record of pod {id} cannot be read: {error}"))
    return found, broken
