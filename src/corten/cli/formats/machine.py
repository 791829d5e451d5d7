"""The rows of `vm ls`."""

from __future__ import annotations

from corten.cli.formats.container import labels_text
from corten.cli.formats.listing import Row, Shape
from corten.units.sizes import human_size

COLUMNS = ("Name", "Status", "Memory", "CPUs", "Addresses", "Ports")


def _ports(row: Row) -> str:
    found = []
    for port, bindings in sorted((row.data.get("Ports") or {}).items()):
        found += [f"{one.get('HostIp') or '0.0.0.0'}:{one['HostPort']}->{port}" for one in bindings or ()] or [port]
    return ", ".join(found)


def _addresses(row: Row) -> str:
    return ", ".join(address for address in (row.data.get("Networks") or {}).values() if address)


MACHINE = Shape(
    "machineContext",
    {
        "ID": lambda row: row.data["Id"] if row.full else row.data["Id"][:12],
        "Name": lambda row: row.data["Name"],
        "Status": lambda row: row.data["Status"],
        "State": lambda row: row.data["State"],
        "Memory": lambda row: human_size(row.data["Memory"]),
        "CPUs": lambda row: str(row.data["CPUs"]),
        "Addresses": _addresses,
        "Ports": _ports,
        "Disks": lambda row: ", ".join(row.data.get("Disks") or ()),
        "Networks": lambda row: ", ".join(row.data.get("Networks") or ()),
        "Labels": lambda row: labels_text(row.data.get("Labels")),
    },
    {
        "ID": "VM ID",
        "Name": "NAME",
        "Status": "STATUS",
        "State": "STATE",
        "Memory": "MEMORY",
        "CPUs": "CPUS",
        "Addresses": "ADDRESSES",
        "Ports": "PORTS",
        "Disks": "DISKS",
        "Networks": "NETWORKS",
        "Labels": "LABELS",
    },
    {"Label": lambda row, name: (row.data.get("Labels") or {}).get(name, "")},
)
