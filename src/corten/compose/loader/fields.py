"""Fields that files write in several ways: each to the one that its type has."""

from __future__ import annotations

from corten.compose.document import Tree, Value
from corten.compose.errors import ComposeError
from corten.compose.loader.interpolate import boolean
from corten.compose.loader.rules import Rules
from corten.compose.loader.shellwords import split
from corten.compose.loader.texts import printed
from corten.compose.loader.walk import Change
from corten.units.durations import NANO
from corten.units.sizes import parse_bytes

_DAYS = {"d": 24 * NANO["h"], "w": 7 * 24 * NANO["h"]}


def command(value: Value, path: str) -> Value:
    if not isinstance(value, str):
        return value
    try:
        return [*split(value)]
    except ValueError as error:
        raise ComposeError(str(error), path=path, remedy="write it as a list") from None


def variables(value: Value, path: str) -> Value:
    """NAME=VALUE, NAME: VALUE; a name alone has no value."""
    if isinstance(value, dict):
        return {key: None if each is None else printed(each) for key, each in value.items()}
    found: Tree = {}
    for each in value if isinstance(value, list) else ():
        key, given, text = printed(each).partition("=")
        if key and key[-1].isspace():
            raise ComposeError(f"environment variable {key} is declared with a trailing space", path=path)
        found[key] = text if given else None
    return found


def texts(value: Value, path: str) -> Value:
    """The same, in which a name alone has an empty value."""
    if isinstance(value, dict):
        for key, each in value.items():
            if isinstance(each, dict | list):
                raise ComposeError(f"{path}.{key} must be a string", path=f"{path}.{key}")
        return {key: "" if each is None else printed(each) for key, each in value.items()}
    if isinstance(value, list):
        return {key: text for key, _, text in (printed(each).partition("=") for each in value)}
    return value


def options(value: Value, path: str) -> Value:
    """Of a provider: each may be repeated."""
    if not isinstance(value, dict):
        return value
    return {key: [printed(one) for one in (each if isinstance(each, list) else [each])] for key, each in value.items()}


def hosts(value: Value, path: str) -> Value:
    """NAME=ADDRESS, NAME:ADDRESS, NAME=ADDRESS,ADDRESS and mappings, to lists of addresses by name."""
    found: dict[str, list[Value]] = {}
    if isinstance(value, dict):
        for name, each in value.items():
            found[name] = [printed(one) for one in (each if isinstance(each, list) else [each or ""])]
    for each in value if isinstance(value, list) else ():
        text = printed(each)
        separator = "=" if "=" in text else ":"
        name, given, addresses = text.partition(separator)
        if not given:
            raise ComposeError(f"invalid additional host, missing IP: {text}", path=path, remedy="write NAME=ADDRESS")
        found[name] = [*found.get(name, []), *addresses.split(",")]
    for name in found:
        if not name or ":" in name or "=" in name:
            raise ComposeError(f"bad host name '{name}'", path=path)
    return {name: [_unbracketed(printed(each)) for each in addresses] for name, addresses in found.items()}


def _unbracketed(address: str) -> str:
    return address[1:-1] if len(address) > 2 and address[0] == "[" and address[-1] == "]" else address


def size(value: Value, path: str) -> Value:
    """Bytes of a number, or of a text with a unit."""
    if isinstance(value, int | float):
        return int(value)
    text = printed(value)
    try:
        if text != text.strip():
            raise ValueError(f"invalid size: '{text}'")
        return -1 if text == "-1" else parse_bytes(text)
    except ValueError as error:
        raise ComposeError(str(error), path=path, remedy="write 512m, 1gb or a number of bytes") from None


def duration(value: Value, path: str) -> Value:
    """Nanoseconds; units to d and w."""
    text = printed(value)
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ComposeError(str(error), path=path, remedy="write 1m30s, 500ms or 2h") from None


def parse_duration(text: str) -> int:
    """Raises ValueError."""
    from corten.units.durations import parse_age
    from corten.units.durations import parse_duration as parse

    sign = -1 if text.startswith("-") else 1
    rest = text.lstrip("+-") if text[:1] in ("+", "-") else text
    return sign * parse_age(rest) if any(unit in rest for unit in _DAYS) else parse(text)


def count(value: Value, path: str) -> Value:
    """Of devices."""
    if isinstance(value, str):
        if value.lower() == "all":
            return -1
        try:
            return int(value)
        except ValueError:
            said = f"invalid value \"{value}\", the only value allowed is 'all' or a number"
            raise ComposeError(said, path=path) from None
    return value


def mode(value: Value, path: str) -> Value:
    """Permissions: a text is octal."""
    if not isinstance(value, str):
        return int(value) if isinstance(value, float) else value
    try:
        return int(value, 8)
    except ValueError:
        raise ComposeError(f'strconv.ParseInt: parsing "{value}": invalid syntax', path=path) from None


def test(value: Value, path: str) -> Value:
    return ["CMD-SHELL", value] if isinstance(value, str) else value


def ulimit(value: Value, path: str) -> Value:
    return value if isinstance(value, dict) else {"single": value}


def ssh(value: Value, path: str) -> Value:
    if not isinstance(value, dict):
        return value
    return [{"id": key, "path": "" if each is None else printed(each)} for key, each in sorted(value.items())]


def text(value: Value, path: str) -> Value:
    return printed(value)


def all_texts(value: Value, path: str) -> Value:
    """A list of texts and numbers, or one of them."""
    return [printed(each) for each in value] if isinstance(value, list) else [printed(value)]


def flag(value: Value, path: str) -> Value:
    if not isinstance(value, str):
        return value
    try:
        return boolean(value, lambda warning: None)
    except ValueError as error:
        raise ComposeError(str(error), path=path, remedy="write true or false") from None


def whole(value: Value, path: str) -> Value:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _each(change: Change, *paths: str) -> dict[str, Change]:
    return dict.fromkeys(paths, change)


def _services(*keys: str) -> tuple[str, ...]:
    return tuple(f"services.*.{key}" for key in keys)


_HOOKS = ("pre_start.*", "post_start.*", "pre_stop.*", "develop.watch.*.exec")
_RATES = ("device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops")
_FILES = ("networks", "volumes", "secrets", "configs")
_DEVICES = ("gpus.*", "deploy.resources.reservations.devices.*")
_UPDATES = ("deploy.update_config", "deploy.rollback_config")
_RESOURCES = ("deploy.resources.limits", "deploy.resources.reservations")

#: Mappings whose keys are names.
_NAMED = (
    *("services", "networks", "volumes", "secrets", "configs", "models"),
    *_services(
        *("annotations", "depends_on", "environment", "extra_hosts", "labels", "log_opt", "logging.options", "models"),
        *("networks", "networks.*.driver_opts", "provider.options", "storage_opt", "sysctls", "ulimits"),
        *("build.args", "build.labels", "build.additional_contexts", "build.extra_hosts", "build.ulimits"),
        *("deploy.labels", "volumes.*.volume.labels"),
        *(f"{hook}.environment" for hook in _HOOKS),
        *(f"{device}.options" for device in _DEVICES),
    ),
    *(f"{section}.*.{key}" for section in _FILES for key in ("labels", "driver_opts")),
    *("networks.*.ipam.options", "networks.*.ipam.config.*.aux_addresses"),
)
FREE: Rules[bool] = Rules(dict.fromkeys(_NAMED, True))

FIELDS: Rules[Change] = Rules(
    {
        **_each(command, *_services("command", "entrypoint", *(f"{hook}.command" for hook in _HOOKS))),
        **_each(variables, *_services("environment", "build.args", *(f"{hook}.environment" for hook in _HOOKS))),
        **_each(
            texts,
            *_services(
                *("annotations", "labels", "sysctls", "logging.options", "storage_opt", "networks.*.driver_opts"),
                *("build.labels", "build.additional_contexts", "deploy.labels", "volumes.*.volume.labels"),
                *(f"{device}.options" for device in _DEVICES),
            ),
            *(f"{section}.*.{key}" for section in _FILES for key in ("labels", "driver_opts")),
            *("networks.*.ipam.options", "networks.*.ipam.config.*.aux_addresses"),
        ),
        **_each(options, *_services("provider.options")),
        **_each(hosts, *_services("extra_hosts", "build.extra_hosts")),
        **_each(
            size,
            *_services(
                *("mem_limit", "mem_reservation", "memswap_limit", "mem_swappiness", "shm_size", "build.shm_size"),
                *("volumes.*.tmpfs.size", *(f"{each}.memory" for each in _RESOURCES)),
                *(f"blkio_config.{rate}.*.rate" for rate in _RATES),
            ),
        ),
        **_each(
            duration,
            *_services(
                "stop_grace_period",
                *(f"healthcheck.{key}" for key in ("interval", "timeout", "start_period", "start_interval")),
                *(f"{each}.{key}" for each in _UPDATES for key in ("delay", "monitor")),
                *(f"deploy.restart_policy.{key}" for key in ("delay", "window")),
            ),
        ),
        **_each(count, *_services(*(f"{device}.count" for device in _DEVICES))),
        **_each(mode, *_services("configs.*.mode", "secrets.*.mode", "build.secrets.*.mode")),
        **_each(test, *_services("healthcheck.test")),
        **_each(ulimit, *_services("ulimits.*", "build.ulimits.*")),
        **_each(ssh, *_services("build.ssh")),
        **_each(text, *_services("ports.*.published", "ports.*.mode")),
        **_each(all_texts, *_services("expose", "group_add", "dns_search", "tmpfs")),
        **_each(
            flag,
            *_services(
                *("attach", "init", "oom_kill_disable", "privileged", "read_only", "stdin_open", "tty"),
                *("build.no_cache", "build.pull", "build.privileged", "depends_on.*.restart", "env_file.*.required"),
                *("healthcheck.disable", "volumes.*.read_only", "volumes.*.bind.create_host_path"),
                *("volumes.*.volume.nocopy", *(f"{hook}.privileged" for hook in _HOOKS)),
                *(f"{hook}.per_replica" for hook in _HOOKS),
            ),
            *(f"{section}.*.external" for section in _FILES),
            *(f"networks.*.{key}" for key in ("internal", "attachable", "enable_ipv4", "enable_ipv6")),
        ),
        **_each(
            whole,
            *_services(
                *("cpu_count", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares"),
                *("healthcheck.retries", "networks.*.priority", "networks.*.gw_priority", "oom_score_adj"),
                *("pids_limit", "volumes.*.tmpfs.mode"),
            ),
        ),
    }
)
