"""Quadlet files (podman-systemd.unit(5)): a .container for each service, a .network and a .volume for what they share.

What a service waits for is an order of units: one that is waited for until it is healthy says so to systemd (Notify),
one that has to complete is of Type=oneshot. Replicas are instances of a template unit, NAME@.container.
"""

from __future__ import annotations

from corten.compose.exports import Exported
from corten.compose.model import Healthcheck, Network, Project, Service, ServiceNetwork
from corten.compose.plan.operations import COMPLETED, HEALTHY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Lines = list[tuple[str, str]]

_SECOND = 1_000_000_000
_RESTARTS = {"always": "always", "unless-stopped": "always", "on-failure": "on-failure", "no": "no", "": "no"}
_ENGINES = ("host", "none", "bridge")


def quadlet(project: Project) -> Exported:
    found = Exported()
    waited = {
        (name, each.condition) for service in project.services.values() for name, each in service.depends_on.items()
    }
    for name, service in project.services.items():
        if service.provider is not None:
            found.warnings.append(f"service {name}: a provider has no unit")
            continue
        template = service.replicas > 1
        conditions = {condition for other, condition in waited if other == name}
        text = _container(project, service, conditions, found.warnings)
        found.files[f"{_unit(project, name)}{'@' if template else ''}.container"] = text
        if template:
            last = service.replicas
            found.warnings.append(f"service {name}: start its {last} instances, {_unit(project, name)}@1 to @{last}")
    for key, network in project.networks.items():
        if not network.external:
            found.files[f"{_unit(project, key)}.network"] = _text([("Network", _network(project, network))])
    for key, volume in project.volumes.items():
        if not volume.external:
            lines = [("VolumeName", volume.name), *_pairs("Label", volume.labels)]
            found.files[f"{_unit(project, key)}.volume"] = _text([("Volume", lines)])
    return found


def _unit(project: Project, name: str) -> str:
    return f"{project.name}-{name}"


def _text(sections: Iterable[tuple[str, Lines]]) -> str:
    parts = []
    for section, lines in sections:
        if lines:
            parts.append(f"[{section}]\n" + "".join(f"{key}={value}\n" for key, value in lines))
    return "\n".join(parts)


def _quoted(text: str) -> str:
    """One word of a systemd line: % and $ are its own (systemd.syntax(7), systemd.service(5))."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return escaped if escaped and not any(letter in " \t'\";#" for letter in text) else f'"{escaped}"'


def _command(words: Iterable[str]) -> str:
    return " ".join(_quoted(word).replace("$", "$$") for word in words)


def _pairs(key: str, values: object) -> Lines:
    assert isinstance(values, dict)
    return [(key, _quoted(f"{name}={value}")) for name, value in values.items()]


def _container(project: Project, service: Service, conditions: set[str], warnings: list[str]) -> str:
    name = service.name
    if service.build is not None:
        warnings.append(f"service {name}: build and push {project.image_of(service)} first, a unit does not build it")
    unit: Lines = [("Description", f"{name} of {project.name}")]
    for other in sorted(service.depends_on):
        unit += [("Requires", f"{_unit(project, other)}.service"), ("After", f"{_unit(project, other)}.service")]
    lines: Lines = [("Image", project.image_of(service))]
    if service.replicas == 1:
        lines.append(("ContainerName", service.container_name or f"{project.name}-{name}-1"))
    lines += [("Entrypoint", _command(service.entrypoint))] if service.entrypoint else []
    lines += [("Exec", _command(service.command))] if service.command else []
    given = {key: value for key, value in service.environment.items() if value is not None}
    lines += _pairs("Environment", given) + _pairs("Label", service.labels) + _pairs("Sysctl", service.sysctls)
    lines += _networks(project, service)
    lines += [
        ("PublishPort", _port(each.host_ip, each.published, each.target, each.protocol)) for each in service.ports
    ]
    lines += _volumes(project, service, warnings) + _simple(service)
    lines += _health(service.healthcheck) if service.healthcheck is not None else []
    lines += [("Notify", "healthy")] if HEALTHY in conditions else []
    run: Lines = []
    if COMPLETED in conditions:
        run += [("Type", "oneshot"), ("RemainAfterExit", "yes")]
    else:
        run.append(("Restart", _RESTARTS[service.restart.partition(":")[0]]))
    return _text(
        [("Unit", unit), ("Container", lines), ("Service", run), ("Install", [("WantedBy", "default.target")])]
    )


def _networks(project: Project, service: Service) -> Lines:
    mode = service.network_mode
    if mode:
        shared = mode.removeprefix("service:")
        return [("Network", f"{_unit(project, shared)}.container" if shared != mode else mode)]
    found: Lines = []
    for key in service.networks_by_priority:
        known = project.networks[key]
        given = service.networks[key] or ServiceNetwork()
        options = [f"alias={each}" for each in (service.name, *given.aliases)]
        options += [f"ip={given.ipv4_address}"] if given.ipv4_address else []
        options += [f"ip6={given.ipv6_address}"] if given.ipv6_address else []
        where = known.name if known.external or known.name in _ENGINES else f"{_unit(project, key)}.network"
        found.append(("Network", f"{where}:{','.join(options)}"))
    return found


def _port(address: str, published: str, target: int, protocol: str) -> str:
    inside = f"{target}/{protocol}" if protocol and protocol != "tcp" else str(target)
    outside = f"{address}:{published}" if address else published
    return f"{outside}:{inside}" if outside else inside


def _volumes(project: Project, service: Service, warnings: list[str]) -> Lines:
    found: Lines = []
    for each in service.volumes:
        mode = ":ro" if each.read_only else ""
        if each.type == "tmpfs":
            found.append(("Tmpfs", each.target))
        elif each.type == "bind":
            found.append(("Volume", _quoted(f"{each.source}:{each.target}{mode}")))
        elif each.type == "volume" and each.source:
            known = project.volumes.get(each.source)
            where = known.name if known is not None and known.external else f"{_unit(project, each.source)}.volume"
            found.append(("Volume", _quoted(f"{where}:{each.target}{mode}")))
        elif each.type == "volume":
            found.append(("Volume", _quoted(each.target)))
        else:
            warnings.append(f"service {service.name}: a mount of type {each.type} ({each.target}) is left out")
    for references, objects, directory in (
        (service.secrets, project.secrets, "/run/secrets/"),
        (service.configs, project.configs, "/"),
    ):
        for each_file in references:
            known_file = objects[each_file.source]
            target = each_file.target or each_file.source
            path = target if target.startswith("/") else f"{directory}{target}"
            if known_file.file:
                found.append(("Volume", _quoted(f"{known_file.file}:{path}:ro")))
            else:
                warnings.append(
                    f"service {service.name}: {path} is left out: make it with 'podman secret create "
                    f"{known_file.name} -' and add Secret={known_file.name},target={path}"
                )
    return found


def _simple(service: Service) -> Lines:
    texts = {
        "User": service.user,
        "WorkingDir": service.working_dir,
        "HostName": service.hostname,
        "StopSignal": service.stop_signal,
        "ShmSize": str(int(service.shm_size)) if service.shm_size else "",
        "Memory": str(int(service.mem_limit)) if service.mem_limit else "",
        "PidsLimit": str(service.pids_limit) if service.pids_limit else "",
        "ReadOnly": "true" if service.read_only else "",
        "RunInit": "true" if service.init else "",
        "LogDriver": service.logging.driver if service.logging is not None else "",
        "StopTimeout": "" if service.stop_grace_period is None else str(service.stop_grace_period // _SECOND),
    }
    found = [(key, _quoted(text)) for key, text in texts.items() if text]
    for key, values in (
        ("AddCapability", service.cap_add),
        ("DropCapability", service.cap_drop),
        ("DNS", service.dns),
        ("Tmpfs", service.tmpfs),
        ("AddDevice", [f"{each.source}:{each.target or each.source}" for each in service.devices]),
        ("AddHost", [f"{name}:{each}" for name, all_ in service.extra_hosts.items() for each in all_]),
        ("Ulimit", [f"{name}={each.single or each.soft}:{each.single or each.hard}"
                    for name, each in service.ulimits.items()]),
    ):  # fmt: skip
        found += [(key, _quoted(each)) for each in values]
    arguments = ["--privileged"] if service.privileged else []
    arguments += [f"--cpus={service.cpus:g}"] if service.cpus else []
    return [*found, *([("PodmanArgs", " ".join(arguments))] if arguments else [])]


def _health(check: Healthcheck) -> Lines:
    if check.disable or check.test[:1] == ("NONE",):
        return [("HealthCmd", "none")]
    kind, *words = check.test or ("",)
    command = words[0] if kind == "CMD-SHELL" else _command(words)
    found: Lines = [("HealthCmd", command.replace("%", "%%"))] if command else []
    for key, value in (
        ("HealthInterval", check.interval),
        ("HealthTimeout", check.timeout),
        ("HealthStartPeriod", check.start_period),
        ("HealthRetries", check.retries),
    ):
        found += [(key, str(value))] if value is not None else []
    return found


def _network(project: Project, network: Network) -> Lines:
    found: Lines = [("NetworkName", network.name)]
    found += [("Driver", network.driver)] if network.driver else []
    found += [("Internal", "true")] if network.internal else []
    found += [("IPv6", "true")] if network.enable_ipv6 else []
    for pool in network.ipam.config:
        for key, value in (("Subnet", pool.subnet), ("Gateway", pool.gateway), ("IPRange", pool.ip_range)):
            found += [(key, value)] if value else []
    return found + _pairs("Options", network.driver_opts) + _pairs("Label", network.labels)
