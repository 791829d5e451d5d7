"""corten update: change the limits and the published ports of containers."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.each import each
from corten.cli.errors import CommandError
from corten.cli.flags import LIST, STRING, flag
from corten.cli.options.host_config import RESOURCES, restart_policy
from corten.cli.options.table import named
from corten.cli.output import err
from corten.client import containers
from corten.spec.docker.host_config import UpdateConfig
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.spec.docker.host_config import PortBinding

LIMITS = (
    *("blkio-weight", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime", "cpu-shares", "cpus"),
    *("cpuset-cpus", "cpuset-mems", "kernel-memory", "memory", "memory-reservation", "memory-swap", "pids-limit"),
)


def run(session: Session, flags: Flags) -> int:
    if not flags.given:
        raise CommandError("you must provide one or more flags when using this command")
    config = UpdateConfig(
        restart_policy=restart_policy(flags.text("restart")) if "restart" in flags else UNSET,
        publish_add=_bindings(flags, "publish-add"),
        publish_rm=_bindings(flags, "publish-rm"),
        net_rate=flags.text("net-rate") if "net-rate" in flags else UNSET,
        **{field: flags.value(name) for name, field in RESOURCES.items() if name in flags},
    )
    warnings: list[str] = []

    def update(name: str) -> None:
        warnings.extend(containers.update(session.client, name, config).get("Warnings") or ())

    code = each(flags.words, update)
    if warnings:
        err("\n".join(warnings))
    return code


def _bindings(flags: Flags, name: str) -> dict[str, list[PortBinding]]:
    if name not in flags:
        return UNSET
    from corten.cli.options import ports

    return ports.published(flags.many(name))[1]


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Change the limits and the published ports of containers",
    (
        *named(*LIMITS),
        flag("net-rate", STRING, "Limit of network traffic: 10mbit, egress=10mbit,ingress=1gbit, or none"),
        flag("publish-add", LIST, "Publish a port, at once: [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]"),
        flag("publish-rm", LIST, "Publish a port no longer: [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]"),
        flag("restart", STRING, "Restart policy"),
    ),
    least=1,
)
