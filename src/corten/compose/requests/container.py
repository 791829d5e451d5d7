"""The body of POST /containers/create for one container of a service, with Docker's labels.

    request = container(project, service, Made(name="demo-web-1", number=1, hash=..., image="sha256:..."))

What only the engine knows when it is made is in `Made`: ids of the containers whose namespaces it shares, volumes of
the one it replaces. Names of Docker's Compose: pkg/compose/create.go.
"""

from __future__ import annotations

import json

import msgspec

from corten.compose import labels
from corten.compose.model import Healthcheck, Port, Project, Service
from corten.compose.refusals import Refused
from corten.compose.requests import endpoints
from corten.compose.requests.balance import balanced_ports
from corten.compose.requests.boot import start_after
from corten.compose.requests.mounts import Inherited, mounted, stored
from corten.compose.requests.resources import resources
from corten.spec.docker.config import HealthConfig, NetworkingConfig
from corten.spec.docker.create import CreateRequest
from corten.spec.docker.host_config import HostConfig, LogConfig, PortBinding, RestartPolicy
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SECOND = 1_000_000_000
_RESTARTS = {"none": "no", "any": "always"}
_SOCKET = "/var/run/docker.sock"


class Made(msgspec.Struct, frozen=True):
    """What is known of one container when it is made. `ids` has the container of each service whose namespaces or
    volumes it shares; `linked` the names of the containers of each service that it has links to."""

    name: str
    number: int
    hash: str
    image: str
    replaces: str = ""
    slug: str = ""
    ids: Mapping[str, str] = {}
    linked: Mapping[str, tuple[str, ...]] = {}
    inherited: tuple[Inherited, ...] = ()
    image_volumes: tuple[str, ...] = ()
    oneoff: bool = False
    auto_remove: bool = False
    stdin: bool = False
    aliases: bool = True  # whether its networks know it by the service's names
    balanced: bool = False  # the engine lets it share ports with the others of its service


def container(project: Project, service: Service, made: Made, version: tuple[int, ...]) -> CreateRequest:
    """`version` is the API's: before 1.44 a request names one network, and others are connected afterwards."""
    exposed = [*(f"{each.target}/{each.protocol or 'tcp'}" for each in service.ports), *_exposed(service.expose)]
    return CreateRequest(
        hostname=service.hostname or UNSET,
        domainname=service.domainname or UNSET,
        user=service.user or UNSET,
        exposed_ports={port: {} for port in exposed} or UNSET,
        tty=service.tty,
        open_stdin=service.stdin_open,
        stdin_once=made.stdin and service.stdin_open,
        attach_stdin=made.stdin,
        attach_stdout=True,
        attach_stderr=True,
        cmd=UNSET if service.command is None else list(service.command),
        entrypoint=UNSET if service.entrypoint is None else list(service.entrypoint) or [""],
        image=project.image_of(service),
        working_dir=service.working_dir or UNSET,
        mac_address=service.mac_address if service.mac_address and version < (1, 44) else UNSET,
        stop_signal=service.stop_signal or UNSET,
        stop_timeout=UNSET if service.stop_grace_period is None else service.stop_grace_period // _SECOND,
        env=environment(service.environment) or UNSET,
        healthcheck=_health(service.healthcheck) if service.healthcheck is not None else UNSET,
        labels={**service.labels, **own_labels(project, service, made)},
        host_config=_host_config(project, service, made),
        networking_config=_networking(project, service, made, version),
    )


def environment(values: Mapping[str, str | None]) -> list[str]:
    """A name without a value takes the image's away."""
    return [name if value is None else f"{name}={value}" for name, value in values.items()]


def own_labels(project: Project, service: Service, made: Made) -> dict[str, str]:
    waits = ",".join(
        f"{name}:{each.condition}:{'true' if each.restart else 'false'}"
        for name, each in sorted(service.depends_on.items())
    )
    found = {
        labels.PROJECT: project.name,
        labels.SERVICE: service.name,
        labels.VERSION: labels.SPOKEN,
        labels.WORKING_DIR: project.working_dir,
        labels.CONFIG_FILES: ",".join(project.files),
        labels.ONEOFF: "True" if made.oneoff else "False",
        labels.HASH: made.hash,
        labels.IMAGE: made.image,
        labels.DEPENDS_ON: waits,
        labels.NUMBER: str(made.number),
    }
    if project.env_files:
        found[labels.ENVIRONMENT_FILE] = ",".join(project.env_files)
    if made.replaces:
        found[labels.REPLACE] = made.replaces
    if made.slug:
        found[labels.SLUG] = made.slug
        del found[labels.NUMBER]
    return found


def _exposed(ports: tuple[str, ...]) -> list[str]:
    found = []
    for text in ports:
        numbers, _, protocol = text.partition("/")
        low, _, high = numbers.partition("-")
        found += [f"{each}/{protocol or 'tcp'}" for each in range(int(low), int(high or low) + 1)]
    return found


def _health(check: Healthcheck) -> HealthConfig:
    if check.disable:
        return HealthConfig(test=["NONE"])
    return HealthConfig(
        test=list(check.test) or UNSET,
        interval=UNSET if check.interval is None else int(check.interval),
        timeout=UNSET if check.timeout is None else int(check.timeout),
        start_period=UNSET if check.start_period is None else int(check.start_period),
        start_interval=UNSET if check.start_interval is None else int(check.start_interval),
        retries=UNSET if check.retries is None else check.retries,
    )


def _host_config(project: Project, service: Service, made: Made) -> HostConfig:
    found = mounted(project, service, made.inherited, made.image_volumes)
    binds = [*found.binds, *([f"{_SOCKET}:{_SOCKET}"] if service.use_api_socket else [])]
    policy = restart_policy(service)
    shared = service.balanced if made.balanced else ()
    return HostConfig(
        **resources(service),
        binds=binds or UNSET,
        mounts=list(found.mounts) or UNSET,
        auto_remove=made.auto_remove,
        annotations=dict(service.annotations) or UNSET,
        cap_add=list(service.cap_add) or UNSET,
        cap_drop=list(service.cap_drop) or UNSET,
        network_mode=endpoints.mode(project, service, made.ids),
        init=UNSET if service.init is None else service.init,
        ipc_mode=endpoints.shared(service.ipc, made.ids) or UNSET,
        pid_mode=endpoints.shared(service.pid, made.ids) or UNSET,
        uts_mode=service.uts or UNSET,
        userns_mode=service.userns_mode or UNSET,
        cgroupns_mode=service.cgroup or UNSET,
        readonly_rootfs=service.read_only or UNSET,
        restart_policy=policy,
        start_after=start_after(project, service, policy) or UNSET,
        stored_secrets=stored(project, service) or UNSET,
        shm_size=int(service.shm_size) or UNSET,
        sysctls=dict(service.sysctls) or UNSET,
        port_bindings=_bindings([each for each in service.ports if each not in shared]) or UNSET,
        balanced_ports=balanced_ports(project, service) if shared else UNSET,
        volume_driver=service.volume_driver or UNSET,
        volumes_from=_volumes_from(service, made.ids) or UNSET,
        dns=list(service.dns) or UNSET,
        dns_search=list(service.dns_search) or UNSET,
        dns_options=list(service.dns_opt) or UNSET,
        extra_hosts=[f"{name}:{each}" for name, all_ in service.extra_hosts.items() for each in all_] or UNSET,
        security_opt=[_security_option(each) for each in service.security_opt] or UNSET,
        storage_opt=dict(service.storage_opt) or UNSET,
        privileged=service.privileged or UNSET,
        tmpfs={path: options for path, _, options in (each.partition(":") for each in service.tmpfs)} or UNSET,
        isolation=service.isolation or UNSET,
        runtime=service.runtime or UNSET,
        log_config=_log_config(service),
        group_add=list(service.group_add) or UNSET,
        links=endpoints.links(project, service, made.number, made.linked) if not service.networks else UNSET,
        oom_score_adj=service.oom_score_adj or UNSET,
    )


def _networking(project: Project, service: Service, made: Made, version: tuple[int, ...]) -> NetworkingConfig:
    found = endpoints.endpoints(project, service, made.name, made.number, made.linked, made.aliases, version)
    if not found:
        return UNSET
    if version < (1, 44):
        first = next(iter(found))
        return NetworkingConfig(endpoints_config={first: found[first]})
    return NetworkingConfig(endpoints_config=found)


def restart_policy(service: Service) -> RestartPolicy:
    """`deploy.restart_policy` counts before `restart`."""
    given = service.deploy.restart_policy if service.deploy is not None else None
    if given is not None:
        name = _RESTARTS.get(given.condition or "any", given.condition)
        return RestartPolicy(name=name, maximum_retry_count=(given.max_attempts or 0) if name == "on-failure" else 0)
    if not service.restart:
        return RestartPolicy()
    name, _, attempts = service.restart.partition(":")
    return RestartPolicy(name=name, maximum_retry_count=int(attempts or 0))


def _bindings(ports: Iterable[Port]) -> dict[str, list[PortBinding]]:
    found: dict[str, list[PortBinding]] = {}
    for each in ports:
        binding = PortBinding(host_ip=each.host_ip, host_port=each.published)
        found.setdefault(f"{each.target}/{each.protocol or 'tcp'}", []).append(binding)
    return found


def _volumes_from(service: Service, ids: Mapping[str, str]) -> list[str]:
    found = []
    for text in service.volumes_from:
        if text.startswith("container:"):
            found.append(text.removeprefix("container:"))
            continue
        name, colon, mode = text.partition(":")
        found.append(f"{ids.get(name, name)}{colon}{mode}")
    return found


def _log_config(service: Service) -> LogConfig:
    if service.logging is not None:
        return LogConfig(type=service.logging.driver, config=dict(service.logging.options) or None)
    if service.log_driver or service.log_opt:
        return LogConfig(type=service.log_driver, config=dict(service.log_opt) or None)
    return UNSET


def _security_option(text: str) -> str:
    """A seccomp profile's file is read here, as the engine may be another machine. Raises Refused."""
    name, sign, value = text.partition("=" if "=" in text else ":")
    if name != "seccomp" or not sign or value in ("unconfined", "builtin"):
        return text
    try:
        with open(value, encoding="utf-8") as file:
            return f"seccomp={json.dumps(json.load(file), separators=(',', ':'))}"
    except OSError as error:
        raise Refused(f"opening seccomp profile ({value}) failed: {error.strerror}") from None
    except ValueError as error:
        raise Refused(f"seccomp profile {value} is not JSON: {error}") from None
