"""corten update: change the limits and the published ports of containers."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.errors import CommandError
from corten.cli.flags import BYTES, INT, LIST, STRING, UINT16, flag
from corten.cli.options.ports import published
from corten.cli.options.request import RESOURCES, restart_policy
from corten.cli.options.table import CPUS, MEMORY_SWAP
from corten.cli.output import err
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session

PUBLISHED = {"publish-add": "PublishAdd", "publish-rm": "PublishRm"}


def run(session: Session, flags: Flags) -> int:
    if not flags.given:
        raise CommandError("you must provide one or more flags when using this command")
    body = {field: flags.value(name) for name, field in RESOURCES.items() if name in flags}
    if "restart" in flags:
        body["RestartPolicy"] = restart_policy(flags.text("restart"))
    for name, field in PUBLISHED.items():
        if name in flags:
            body[field] = published(flags.many(name))[1]
    if "net-rate" in flags:
        body["NetRate"] = flags.text("net-rate")
    warnings: list[str] = []

    def update(name: str) -> None:
        warnings.extend(containers.update(session.client, name, body).get("Warnings") or ())

    code = each(flags.words, update)
    if warnings:
        err("\n".join(warnings))
    return code


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Change the limits and the published ports of containers",
    (
        flag("blkio-weight", UINT16, "Share of block IO, 10 to 1000, 0 for no limit"),
        flag("cpu-period", INT, "Length of a CFS scheduler period in microseconds"),
        flag("cpu-quota", INT, "CPU time per period in microseconds"),
        flag("cpu-rt-period", INT, "Length of a real-time scheduler period in microseconds"),
        flag("cpu-rt-runtime", INT, "Real-time CPU time per period in microseconds"),
        flag("cpu-shares", INT, "Share of CPU time relative to others", "c"),
        flag("cpus", CPUS, "How many CPUs' worth of time"),
        flag("cpuset-cpus", STRING, "CPUs it may run on (0-3, 0,1)"),
        flag("cpuset-mems", STRING, "Memory nodes it may use (0-3, 0,1)"),
        flag("kernel-memory", BYTES, "Limit of kernel memory", hidden=True),
        flag("memory", BYTES, "Limit of memory", "m"),
        flag("memory-reservation", BYTES, "Soft limit of memory"),
        flag("memory-swap", MEMORY_SWAP, "Limit of memory and swap together, -1 for no limit of swap"),
        flag("net-rate", STRING, "Limit of network traffic: 10mbit, egress=10mbit,ingress=1gbit, or none"),
        flag("pids-limit", INT, "Limit of processes, -1 for none"),
        flag("publish-add", LIST, "Publish a port, at once: [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]"),
        flag("publish-rm", LIST, "Publish a port no longer: [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]"),
        flag("restart", STRING, "Restart policy"),
    ),
    least=1,
)
