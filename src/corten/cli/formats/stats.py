"""The rows of `stats`: what Docker's client makes of one sample of the daemon's."""

from __future__ import annotations

from corten.cli.formats.listing import Row, Shape, short_id
from corten.units.sizes import bytes_size, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.client.api import Json

COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_NOT_YET = "--"
# The page cache that can go at any time does not count: cgroup v1's name for it, and v2's.
_CACHES = ("total_inactive_file", "inactive_file")


def cpu_percent(sample: Json) -> float:
    """Of one processor: two that are busy are 200. Both counters are nanoseconds, the machine's over all processors."""
    now, before = sample.get("cpu_stats") or {}, sample.get("precpu_stats") or {}
    usage = _usage(now) - _usage(before)
    machine = float(now.get("system_cpu_usage") or 0) - float(before.get("system_cpu_usage") or 0)
    processors = now.get("online_cpus") or len((now.get("cpu_usage") or {}).get("percpu_usage") or ())
    return usage / machine * processors * 100 if usage > 0 and machine > 0 else 0.0


def _usage(cpu: Json) -> float:
    return float((cpu.get("cpu_usage") or {}).get("total_usage") or 0)


def memory(sample: Json) -> tuple[int, int]:
    """(bytes in use, limit)."""
    found = sample.get("memory_stats") or {}
    usage, details = int(found.get("usage") or 0), found.get("stats") or {}
    cache = next((int(details[name]) for name in _CACHES if name in details), 0)
    return (usage - cache if cache < usage else usage), int(found.get("limit") or 0)


def network(sample: Json) -> tuple[int, int]:
    """Bytes (received, sent) over all interfaces."""
    found = (sample.get("networks") or {}).values()
    return sum(one.get("rx_bytes", 0) for one in found), sum(one.get("tx_bytes", 0) for one in found)


def block(sample: Json) -> tuple[int, int]:
    """Bytes (read, written) over all devices."""
    entries = (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    sums = {"r": 0, "w": 0}
    for entry in entries:
        kind = str(entry.get("op") or "-")[0].lower()
        if kind in sums:
            sums[kind] += int(entry.get("value") or 0)
    return sums["r"], sums["w"]


def _known(text: Callable[[Json], str]) -> Callable[[Row], str]:
    """A column's text, or dashes while there is no sample."""
    return lambda row: text(row.data["sample"]) if row.data["sample"] else _NOT_YET


def _pair(found: tuple[int, int]) -> str:
    return f"{human_size(found[0], 3)} / {human_size(found[1], 3)}"


def _memory_text(sample: Json) -> str:
    usage, limit = memory(sample)
    return f"{bytes_size(usage)} / {bytes_size(limit)}"


def _memory_percent(sample: Json) -> str:
    usage, limit = memory(sample)
    return f"{usage / limit * 100 if limit else 0.0:.2f}%"


def _name(row: Row) -> str:
    sample = row.data["sample"]
    return str(sample["name"]).removeprefix("/") if sample else _NOT_YET


def _id(row: Row) -> str:
    sample = row.data["sample"]
    return _NOT_YET if not sample else sample["id"] if row.full else short_id(sample["id"])


STATS = Shape(
    "statsContext",
    {
        "Container": lambda row: row.data["asked"],
        "ID": _id,
        "Name": _name,
        "CPUPerc": _known(lambda sample: f"{cpu_percent(sample):.2f}%"),
        "MemUsage": _known(_memory_text),
        "MemPerc": _known(_memory_percent),
        "NetIO": _known(lambda sample: _pair(network(sample))),
        "BlockIO": _known(lambda sample: _pair(block(sample))),
        "PIDs": _known(lambda sample: str((sample.get("pids_stats") or {}).get("current") or 0)),
    },
    {
        "Container": "CONTAINER",
        "ID": "CONTAINER ID",
        "Name": "NAME",
        "CPUPerc": "CPU %",
        "MemUsage": "MEM USAGE / LIMIT",
        "MemPerc": "MEM %",
        "NetIO": "NET I/O",
        "BlockIO": "BLOCK I/O",
        "PIDs": "PIDS",
    },
)
