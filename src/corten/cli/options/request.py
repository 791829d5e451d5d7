"""Flags to the body of POST /containers/create. Fields that were not asked for are left out."""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.cli.options import host_config
from corten.spec.docker.config import HealthConfig, NetworkingConfig
from corten.spec.docker.create import CreateRequest
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.spec.docker.gotypes import PathSet, PortSet
    from corten.spec.docker.host_config import PortBinding
    from corten.spec.docker.networking import EndpointSettings

# flag -> field, where the value goes as it is when it is not empty
CONFIG = {
    "hostname": "hostname",
    "domainname": "domainname",
    "user": "user",
    "workdir": "working_dir",
    "stop-signal": "stop_signal",
}


def create(
    flags: Flags, image: str, command: list[str], detach: bool = False, session: Session | None = None
) -> CreateRequest:
    """The whole body, with the proxies of the session's configuration.

    Raises CommandError (125) for values and combinations that cannot work.
    """
    host_config.check_modes(flags)
    streams = _streams(flags, detach)
    binds, volumes = _volumes(flags)
    exposed, bindings = _ports(flags)
    mode, endpoints = _network(flags)
    return CreateRequest(
        image=image,
        tty=flags.on("tty"),
        open_stdin=flags.on("interactive"),
        attach_stdin="stdin" in streams,
        attach_stdout="stdout" in streams,
        attach_stderr="stderr" in streams,
        stdin_once="stdin" in streams and flags.on("interactive"),
        cmd=command or UNSET,
        entrypoint=[flags.text("entrypoint")] if "entrypoint" in flags else UNSET,
        env=_environment(flags, session),
        labels=_labels(flags),
        stop_timeout=flags.number("stop-timeout") if "stop-timeout" in flags else UNSET,
        healthcheck=_health(flags) or UNSET,
        volumes=volumes or UNSET,
        exposed_ports=exposed,
        host_config=host_config.host_config(flags, mode, binds, bindings),
        networking_config=NetworkingConfig(endpoints_config=endpoints),
        **host_config.picked(flags, CONFIG),
    )


def _streams(flags: Flags, detach: bool) -> set[str]:
    """What to attach: what -a says, otherwise output and error, and input with -i; nothing with -d."""
    if detach:
        return set()
    return set(flags.many("attach")) or {"stdout", "stderr"} | ({"stdin"} if flags.on("interactive") else set())


def _environment(flags: Flags, session: Session | None) -> list[str]:
    given: list[str] = UNSET
    if flags.many("env") or flags.many("env-file"):
        from corten.cli.options import texts

        given = texts.environment(flags.many("env-file"), flags.many("env"))
    if session is None or not session.config.proxies:
        return given
    from corten.cli.options import proxies

    environment = [] if given is UNSET else given
    return environment + proxies.missing(session.config.proxies, session.host, environment) or UNSET


def _labels(flags: Flags) -> dict[str, str]:
    if not (flags.many("label") or flags.many("label-file")):
        return UNSET
    from corten.cli.options import texts

    return texts.labels(flags.many("label-file"), flags.many("label"))


def _health(flags: Flags) -> HealthConfig | None:
    names = ("interval", "timeout", "start-period", "start-interval", "retries")
    given = [name for name in ("cmd", *names) if f"health-{name}" in flags]
    if flags.on("no-healthcheck"):
        if given:
            raise CommandError("--no-healthcheck conflicts with --health-* options", 125)
        return HealthConfig(test=["NONE"])
    if not any(flags.value(f"health-{name}") for name in given):
        return None
    for name in names:
        if flags.number(f"health-{name}") < 0:
            raise CommandError(f"--health-{name} cannot be negative", 125)
    return HealthConfig(
        test=["CMD-SHELL", flags.text("health-cmd")] if flags.text("health-cmd") else UNSET,
        interval=flags.number("health-interval") or UNSET,
        timeout=flags.number("health-timeout") or UNSET,
        start_period=flags.number("health-start-period") or UNSET,
        start_interval=flags.number("health-start-interval") or UNSET,
        retries=flags.number("health-retries") or UNSET,
    )


def _volumes(flags: Flags) -> tuple[list[str], PathSet]:
    if not flags.many("volume"):
        return [], {}
    from corten.cli.options import volumes

    return volumes.volumes(flags.many("volume"))


def _ports(flags: Flags) -> tuple[PortSet, dict[str, list[PortBinding]]]:
    if not (flags.many("publish") or flags.many("expose")):
        return UNSET, {}
    from corten.cli.options import ports

    exposed, bindings = ports.published(flags.many("publish"))
    return exposed | ports.exposed(flags.many("expose")), bindings


def _network(flags: Flags) -> tuple[str, dict[str, EndpointSettings]]:
    names = ("network", "net", "network-alias", "net-alias", "ip", "ip6", "link", "link-local-ip", "mac-address")
    if not any(flags.value(name) for name in names):
        return "default", {}
    from corten.cli.options import networks

    return networks.endpoints(flags)
