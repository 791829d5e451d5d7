"""Whether a container can be made as it is asked for: dockerd's checks at create, in dockerd's words.

Everything in the request is hostile until it was here. What passes is safe to hand to `container_spec`: the JSON types
are right, nothing is larger than it may be, and no text holds what would break out of the file that it ends up in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from corten.errors import Invalid, Unsupported
from corten.plan.facts import HostFacts
from corten.plan.isolation import disk_size, in_guest
from corten.plan.mount_parse import check_tmpfs
from corten.plan.mount_points import mount_points, volumes_from
from corten.plan.validate.balance import check_balanced_ports
from corten.plan.validate.guest import check_isolation
from corten.plan.validate.logging import check_logging
from corten.plan.validate.network import check_mac, check_network, parse_link
from corten.plan.validate.order import check_start_after
from corten.plan.validate.resources import check_resources, check_restart_policy, check_ulimits, unreachable
from corten.plan.validate.secrets import check_secrets
from corten.plan.validate.security import check_security
from corten.plan.validate.text import check_line, check_word, one_line
from corten.spec.docker import signals
from corten.spec.docker.config import Config, HealthConfig, NetworkingConfig
from corten.spec.docker.exec import ExecConfig
from corten.spec.docker.host_config import HostConfig

_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)
_HOSTNAME_MAX = 64  # of sethostname(2)
_MILLISECOND = 1_000_000
_MAX_ID = 2**31 - 1


def check_name(name: str) -> None:
    """A container's name, with or without the leading slash of the API."""
    if not _NAME.fullmatch(name):
        raise Invalid(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def check_create(
    config: Config,
    host_config: HostConfig,
    networking: NetworkingConfig,
    facts: HostFacts,
    name: str = "",
) -> list[str]:
    """The warnings of POST /containers/create; `config` is already merged with the image's.

    Raises Invalid for a bad value, Unsupported for what this engine leaves out. Whether other containers, networks and
    bind sources exist is checked by the engine.
    """
    try:
        if name:
            check_name(name)
        return _check_all(config, host_config, networking, facts)
    except Invalid as error:
        raise Invalid(one_line(str(error))) from error


def _check_all(config: Config, host: HostConfig, networks: NetworkingConfig, facts: HostFacts) -> list[str]:
    _check_config(config)
    _check_healthcheck(config.healthcheck or HealthConfig())
    check_restart_policy(host.restart_policy)
    _check_host(host, facts)
    check_isolation(host, facts)
    warnings = check_network(config, host, networks)
    warnings += check_security(host, facts)
    warnings += check_resources(host, facts)
    check_ulimits(host.ulimits or ())
    warnings += unreachable(host, facts)
    warnings += check_start_after(host)
    check_balanced_ports(host)
    check_secrets(host)
    _check_places(config, host)
    return warnings


def _check_config(config: Config) -> None:
    if not config.command_line():
        raise Invalid("no command specified")
    _check_program(config)
    for noun, text in (("hostname", config.hostname), ("domainname", config.domainname)):
        check_word(noun, text, _HOSTNAME_MAX)
    check_mac(config.mac_address)
    if config.stop_signal:
        _check_signal(config.stop_signal)


def check_exec(body: ExecConfig) -> None:
    """The body of POST /containers/ID/exec."""
    try:
        if not body.cmd:
            raise Invalid("No exec command specified")
        _check_program(body)
        _check_console(body.console_size)
    except Invalid as error:
        raise Invalid(one_line(str(error))) from error


def _check_program(config: Config | ExecConfig) -> None:
    """What a container's Config and an exec have in common."""
    directory = config.working_dir
    if directory and not directory.startswith("/"):
        raise Invalid(f"the working directory '{directory}' is invalid, it needs to be an absolute path")
    for entry in config.env or ():
        if not entry or entry.startswith("="):
            raise Invalid(f"invalid environment variable: {entry}")
    check_user(config.user)


def _check_console(size: Sequence[int]) -> None:
    if any(not 0 <= number <= 0xFFFF for number in size) or len(size) not in (0, 2):
        raise Invalid(f"invalid console size: {list(size)}")


def check_user(text: str) -> None:
    """USER[:GROUP]. A number that is no uid must not be taken for a name, or wrap around to 0 (CVE-2024-40635)."""
    check_line("user", text)
    for part in text.split(":"):
        if part.isascii() and part.isdigit() and (len(part) > 10 or int(part) > _MAX_ID):
            raise Invalid(f"uids and gids must be in range 0-{_MAX_ID}")
    if text.count(":") > 1:
        raise Invalid(f"invalid user: {text}")


def _check_signal(text: str) -> None:
    try:
        signals.number(text)
    except Invalid as error:
        raise Invalid(f"Invalid signal: {text}") from error


def _check_healthcheck(health: HealthConfig) -> None:
    for name in ("interval", "timeout", "start_period", "start_interval"):
        value = getattr(health, name)
        if value and value < _MILLISECOND:
            raise Invalid(f"{HealthConfig.FIELDS[name].key} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise Invalid("Retries in Healthcheck cannot be negative")


def _check_host(host: HostConfig, facts: HostFacts) -> None:
    policy = host.restart_policy.name or "no"
    if host.auto_remove and policy != "no":
        raise Invalid("can't create 'AutoRemove' container with restart policy")
    if host.shm_size < 0:
        raise Invalid("SHM size can not be less than 0")
    score = host.oom_score_adj
    if not -1000 <= score <= 1000:
        raise Invalid(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")
    _check_engine(host, facts)
    _check_words(host)
    _check_console(host.console_size)
    check_logging(host.log_config, facts.default_log_driver)


def _check_engine(host: HostConfig, facts: HostFacts) -> None:
    runtime = host.runtime or facts.default_runtime
    if runtime not in facts.runtimes:
        raise Invalid(f"Unknown runtime specified {runtime}")
    if in_guest(host, facts):
        disk_size(host)
    elif host.storage_opt:
        raise Unsupported("--storage-opt is supported only for guests: a container's files have no quotas")
    if host.init and not facts.init_path:
        raise Unsupported("--init is not supported: this daemon has no init binary (install tini, or set init-path)")


def _check_words(host: HostConfig) -> None:
    """Groups travel comma separated; a cgroup's parent becomes a path; annotations become keys."""
    for group in host.group_add or ():
        check_word("group", group)
        check_user(group)
        if not group or "," in group or ":" in group:
            raise Invalid(f"invalid group: {group!r}")
    parent = host.cgroup_parent
    check_line("cgroup parent", parent)
    if ".." in parent.split("/"):
        raise Invalid(f"invalid cgroup parent: {parent}")
    if "" in (host.annotations or {}):
        raise Invalid("invalid Annotations: the empty string is not permitted as an annotation key")
    for link in host.links or ():
        parse_link(link)


def _check_places(config: Config, host: HostConfig) -> None:
    """Everything that mount_points will read, so that create fails before anything is made."""
    for path, options in (host.tmpfs or {}).items():
        check_tmpfs(path, options)
    borrowed = {volumes_from(text)[0]: () for text in host.volumes_from or ()}
    mount_points(config, host, borrowed)
