"""The rows of `network audit`: one for each way to a container."""

from __future__ import annotations

from corten.cli.formats.listing import Shape

COLUMNS = ("Network", "Container", "Port", "Via", "From")

REACH = Shape(
    "reachContext",
    {
        "Network": lambda row: row.data["Network"],
        "Container": lambda row: row.data["Container"],
        "Port": lambda row: row.data["Port"],
        "Via": lambda row: row.data["Via"],
        "From": lambda row: ", ".join(row.data["From"]),
    },
    {"Network": "NETWORK", "Container": "CONTAINER", "Port": "PORT", "Via": "VIA", "From": "REACHABLE FROM"},
)
