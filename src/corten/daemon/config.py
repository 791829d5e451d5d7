"""The daemon's settings: dockerd's flags, dockerd's JSON file, one frozen value.

A setting may be given by flag or in the file, not by both. Flags and keys of dockerd that have no meaning here are
taken and warned about by name (`without_effect`), so that an existing command line and daemon.json work; unknown ones
are refused.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from corten.daemon import cri, hosts, runtimes, without_effect
from corten.engine.system import API_VERSION, MIN_API_VERSION
from corten.errors import Invalid, Unsupported
from corten.images import policy
from corten.network.definition import parse_subnet
from corten.network.ipam import parse_pool
from corten.plan.runtimes import OciRuntime, names
from corten.spec.json import Json
from corten.units.booleans import parse_bool

DEFAULT_FILE = Path("/etc/corten/daemon.json")


@dataclass(frozen=True, slots=True)
class Config:
    """Names are dockerd's, with underscores."""

    hosts: tuple[str, ...] = ()
    data_root: Path = Path("/var/lib/corten")
    exec_root: Path = Path("/run/corten")
    pidfile: Path | None = None
    group: str = "corten"
    bridge: str = ""
    bip: str = ""
    fixed_cidr: str = ""
    fixed_cidr_v6: str = ""
    default_gateway: str = ""
    default_gateway_v6: str = ""
    default_network_opts: Mapping[str, Any] = field(default_factory=dict)
    host_gateway_ip: str = ""
    min_api_version: str = MIN_API_VERSION
    mtu: int = 1500
    ipv6: bool = False
    icc: bool = True
    ip_masq: bool = True
    ip: str = ""
    userland_proxy: bool = True
    default_address_pools: tuple[Json, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opts: tuple[str, ...] = ()
    debug: bool = False
    log_level: str = "info"
    labels: tuple[str, ...] = ()
    log_driver: str = "json-file"
    log_opts: Mapping[str, str] = field(default_factory=dict)
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    max_download_attempts: int = 5
    registries: Mapping[str, Json] = field(default_factory=dict)
    proxies: Mapping[str, str] = field(default_factory=dict)
    image_gc: Mapping[str, Any] = field(default_factory=dict)
    builder: Mapping[str, Any] = field(default_factory=dict)
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    userns_remap: str = ""
    storage_driver: str = ""
    cgroup_parent: str = "/corten"
    default_runtime: str = "corten"
    runtimes: Mapping[str, OciRuntime] = field(default_factory=dict)
    cdi_spec_dirs: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi")
    default_shm_size: str = "64m"
    default_ipc_mode: str = "private"
    default_cgroupns_mode: str = ""
    default_ulimits: Mapping[str, Json] = field(default_factory=dict)
    init: bool = False
    init_path: str = ""
    no_new_privileges: bool = False
    seccomp_profile: str = ""
    secrets_key_file: Path | None = None
    cri: Mapping[str, Any] = field(default_factory=dict)
    vm_kernel: str = ""
    vm_memory: str = "1g"
    vm_template: bool = True
    shutdown_timeout: int = 15
    tls: bool = False
    tlsverify: bool = False
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""
    without_effect: tuple[str, ...] = ()  # no setting: the names of those that were given and have none

    @property
    def warnings(self) -> tuple[str, ...]:
        """For the log, `info` and --validate."""
        return tuple(f"WARNING: the setting {name} has no effect" for name in self.without_effect)


SETTINGS = tuple(item for item in fields(Config) if item.name != "without_effect")
_TYPES = get_type_hints(Config)  # by field

_CHOICES = {  # field: values that it may have
    "log_level": ("debug", "info", "warn", "error", "fatal"),
    "default_ipc_mode": ("private", "shareable"),
    "default_cgroupns_mode": ("", "host", "private"),
    "storage_driver": ("", "overlay", "overlay2", "copy", "vfs"),
}
_LISTS = {  # flag, which may be repeated: field
    "host": "hosts",
    "dns": "dns",
    "dns-search": "dns_search",
    "dns-opt": "dns_opts",
    "label": "labels",
    "insecure-registry": "insecure_registries",
    "registry-mirror": "registry_mirrors",
    "default-address-pool": "default_address_pools",
    "cdi-spec-dir": "cdi_spec_dirs",
}
_MAPS = {
    "log-opt": "log_opts",
    "add-runtime": "runtimes",
    "default-ulimit": "default_ulimits",
    "default-network-opt": "default_network_opts",
}
_RELOADED_FILE_ONLY = ("registries", "proxies", "image_gc")
_FILE_ONLY = (*_RELOADED_FILE_ONLY, "builder", "cri")
#: What SIGHUP changes: the keys that dockerd reloads and that mean something here, and our own about registries.
RELOADED = (
    "debug",
    "labels",
    "insecure_registries",
    "registry_mirrors",
    "max_concurrent_downloads",
    "max_concurrent_uploads",
    "max_download_attempts",
    "default_runtime",
    "runtimes",
    "shutdown_timeout",
    *_RELOADED_FILE_ONLY,
)
_OTHER = "other "  # where argparse keeps the value of a flag that is no setting of ours
_SHORT = {"host": "-H", "debug": "-D", "group": "-G", "log-level": "-l", "pidfile": "-p", "bridge": "-b"}
_HELP = {
    "host": "where to listen: unix://PATH, [tcp://]HOST:PORT or fd:// (default unix://<exec-root>/corten.sock)",
    "data-root": "everything that is kept",
    "exec-root": "everything that a reboot may take",
    "group": "group that may use the unix socket",
    "bridge": "bridge of the default network, none for no such network (default: corten0, or the first free one)",
    "bip": "the bridge's address and subnet, as 172.17.0.1/16",
    "icc": "containers of the default network reach one another (default true)",
    "ip": "address of this host at which ports are published when none is said (default 0.0.0.0)",
    "userland-proxy": "ports are published on IPv6 for containers without it, and at ::1 (default true)",
    "ip-masq": "traffic that leaves the default network has this host's address (default true)",
    "default-address-pool": "base=SUBNET,size=BITS: where subnets of new networks come from; may be repeated",
    "config-file": "JSON file of settings",
    "http-proxy": "proxy for registries without TLS; HTTP_PROXY by default",
    "https-proxy": "proxy for registries; HTTPS_PROXY by default",
    "no-proxy": "hosts that are reached without a proxy; NO_PROXY by default",
    "userns-remap": 'user namespace of containers: "default", or user[:group] of /etc/subuid',
    "add-runtime": "NAME=PATH of another OCI runtime",
    "secrets-key-file": "file outside of the data root whose content is the key of stored secrets",
    "vm-kernel": "directory with the kernel of guests: boot/vmlinuz-RELEASE and lib/modules/RELEASE",
    "vm-memory": "memory of guests whose container has no limit (default 1g)",
    "vm-template": "guests are clones of one that has booted (default true)",
}


def load(arguments: Sequence[str]) -> tuple[Config, bool]:
    """The configuration, and whether it is only to be checked (`--validate`). Raises Invalid; `--help` exits."""
    given = vars(_parser().parse_args(list(arguments)))
    validate = bool(given.pop("validate", False))
    file = given.pop("config_file", None)
    flags = _from_flags(given)
    keys = _from_file(Path(file), must_exist=True) if file else _from_file(DEFAULT_FILE, must_exist=False)
    ignored = (*keys.pop("without_effect", ()), *flags.pop("without_effect", ()))
    both = sorted(set(flags) & ({*keys} | {name.replace("-", "_") for name in keys.get("proxies", ())}))
    if both:
        names = ", ".join(name.replace("_", "-") for name in both)
        raise Invalid(f"given both by flag and in the configuration file: {names}")
    try:
        config = _checked(Config(**{**keys, **flags}))
        return replace(config, without_effect=(*ignored, *_idle(config))), validate
    except TypeError as error:
        raise Invalid(f"configuration: {error}") from error


def _idle(config: Config) -> Iterator[str]:
    """Settings that need another one."""
    if config.tls and not config.tlsverify:
        yield "tls (without tlsverify)"
    if config.builder.get("entitlements"):
        yield "builder.entitlements"
    if config.fixed_cidr_v6 and not config.ipv6:
        yield "fixed-cidr-v6 (without ipv6)"


def reloaded(running: Config, arguments: Sequence[str]) -> Config:
    """The running configuration with what SIGHUP changes. Raises Invalid for a bad file."""
    now, _ = load(arguments)
    return replace(running, **{name: getattr(now, name) for name in RELOADED})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise Invalid(f"{message}; see 'cortend --help'")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cortend", description="The Corten daemon. It takes dockerd's flags.", argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--config-file", metavar="FILE", help=_HELP["config-file"])
    parser.add_argument("--validate", action="store_true", help="check the configuration and exit")
    parser.add_argument("-v", "--version", action="version", version=f"Corten version {_version()}")
    for item in SETTINGS:
        name = item.name.replace("_", "-")
        if item.name in (*_LISTS.values(), *_MAPS.values(), *_FILE_ONLY):
            continue
        words = [_SHORT[name], f"--{name}"] if name in _SHORT else [f"--{name}"]
        kind = _scalar(_TYPES[item.name])
        if kind is bool:
            parser.add_argument(*words, nargs="?", const=True, type=_bool, metavar="BOOL", help=_HELP.get(name))
        else:
            read = int if kind is int else str
            parser.add_argument(*words, type=read, help=_HELP.get(name), metavar=kind.__name__.upper())
    for flag, name in (_LISTS | _MAPS).items():
        words = [_SHORT[flag], f"--{flag}"] if flag in _SHORT else [f"--{flag}"]
        parser.add_argument(*words, dest=name, action="append", help=_HELP.get(flag), metavar="VALUE")
    for flag in sorted(without_effect.BOOLEANS):
        dest = f"{_OTHER}{flag}"
        parser.add_argument(f"--{flag}", dest=dest, nargs="?", const=True, type=_bool, help=argparse.SUPPRESS)
    for flag in sorted(without_effect.FLAGS):
        parser.add_argument(f"--{flag}", dest=f"{_OTHER}{flag}", help=argparse.SUPPRESS)
    return parser


def _version() -> str:
    from corten import __version__

    return __version__


def _bool(text: str) -> bool:
    try:
        return parse_bool(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a boolean: {text!r}") from None


def _from_flags(given: Json) -> Json:
    others = {name: given.pop(name) for name in list(given) if name.startswith(_OTHER)}
    if found := without_effect.names({name.removeprefix(_OTHER): value for name, value in others.items()}):
        given["without_effect"] = found
    if "default_network_opts" in given:
        given["default_network_opts"] = _network_options(given["default_network_opts"])
    for name in _MAPS.values():
        if isinstance(given.get(name), list):
            given[name] = dict(_pair(entry) for entry in given[name])
    if "runtimes" in given:
        pairs = given["runtimes"].items()
        given["runtimes"] = {name: runtimes.checked(name, OciRuntime(path)) for name, path in pairs}
    if "default_ulimits" in given:
        given["default_ulimits"] = {name: _ulimit(name, text) for name, text in given["default_ulimits"].items()}
    if "default_address_pools" in given:
        given["default_address_pools"] = [
            dict(_pair(p) for p in text.split(",")) for text in given["default_address_pools"]
        ]
    return _converted(given)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Invalid(f"not NAME=VALUE: {text!r}")
    return name, value


def _network_options(entries: Sequence[str]) -> Json:
    """DRIVER=NAME=VALUE each."""
    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        driver, pair = _pair(entry)
        name, value = _pair(pair)
        found.setdefault(driver, {})[name] = value
    return found


def _ulimit(name: str, text: str) -> Json:
    soft, _, hard = text.partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}
    except ValueError:
        raise Invalid(f"not a limit: {name}={text}") from None


def _from_file(path: Path, must_exist: bool) -> Json:
    try:
        # As dockerd, which takes an empty file for one without settings, and what editors of Windows put in front.
        text = path.read_bytes().decode("utf-8-sig").strip()
        content = json.loads(text) if text else {}
    except FileNotFoundError:
        if must_exist:
            raise Invalid(f"configuration file {path} does not exist") from None
        return {}
    except (OSError, ValueError) as error:
        raise Invalid(f"configuration file {path}: {error}") from error
    if not isinstance(content, dict):
        raise Invalid(f"configuration file {path}: not a JSON object")
    return _from_keys(content, path)


def _from_keys(content: Json, path: Path) -> Json:
    """As with dockerd, whose documentation lists every key with such a value, null and "" are no values."""
    known = {item.name.replace("_", "-"): item.name for item in SETTINGS}
    known |= {"default-ulimits": "default_ulimits", "runtimes": "runtimes"}
    unknown = sorted(set(content) - set(known) - without_effect.KEYS)
    if unknown:
        raise Invalid(f"configuration file {path}: unknown keys: {', '.join(unknown)}")
    content = {key: value for key, value in content.items() if value is not None and value != ""}
    keys = {known[key]: value for key, value in content.items() if key in known}
    for key, value in content.items():
        if not (_fits(value, _TYPES[known[key]]) if key in known else _fits_ignored(key, value)):
            raise Invalid(f"configuration file {path}: {key} has a value of the wrong type")
    if found := without_effect.names(content):
        keys["without_effect"] = found
    if "runtimes" in keys:
        keys["runtimes"] = _runtimes(keys["runtimes"], path)
    return _converted(keys)


def _runtimes(entries: Json, path: Path) -> dict[str, OciRuntime]:
    try:
        return {name: runtimes.parse(name, entry) for name, entry in entries.items()}
    except Invalid as error:
        raise Invalid(f"configuration file {path}: {error}") from None


def _fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value can be that of a field of this type: a list of a tuple, an object of a mapping."""
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return isinstance(value, list) and all(isinstance(each, get_origin(inner) or inner) for each in value)
    if get_origin(kind) is Mapping:
        return isinstance(value, dict)
    if (scalar := _scalar(kind)) is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, bool if scalar is bool else str)


def _fits_ignored(key: str, value: Any) -> bool:
    """Whether it can be the value of a key that has no effect: of the others' types none is known."""
    return key not in without_effect.BOOLEANS or isinstance(value, bool)


def _scalar(kind: Any) -> type:
    """bool, int, str or Path; of an optional type, the one beside None."""
    found: type = next(each for each in get_args(kind) or (kind,) if each is not NoneType)
    return found


def _converted(given: Json) -> Json:
    for name in ("data_root", "exec_root", "pidfile", "secrets_key_file"):
        if name in given:
            given[name] = Path(given[name]).absolute()
    for name in _LISTS.values():
        if name in given:
            given[name] = tuple(given[name])
    return given


def _checked(config: Config) -> Config:
    policy.parse(config.image_gc)
    if config.builder:
        from corten.build.cache import policy as of_builds  # which most configurations do not have

        of_builds.parse(config.builder)
    cri.check(config.cri)
    _check_pools(config.default_address_pools)
    for host in config.hosts:
        hosts.parse(host)
    if config.ip and not _is_address(config.ip):
        raise Invalid(f"ip is not an address: {config.ip!r}")
    _check_log(config)
    _check_networks(config)
    for address in config.dns:
        if not _is_address(address):
            raise Invalid(f"dns is not an address: {address!r}")
    if config.default_runtime not in names(config.runtimes):
        raise Invalid(f"default runtime {config.default_runtime!r} is not among the runtimes")
    if not config.cgroup_parent:  # dockerd's way to say the default
        config = replace(config, cgroup_parent=Config().cgroup_parent)
    if not config.cgroup_parent.startswith("/"):
        raise Invalid(f"cgroup-parent must be an absolute path: {config.cgroup_parent!r}")
    for name, choices in _CHOICES.items():
        if (value := getattr(config, name)) not in choices:
            raise Invalid(f"{name.replace('_', '-')} {value!r} is none of {', '.join(filter(None, choices))}")
    _check_limits(config)
    return config


def _check_networks(config: Config) -> None:
    if config.host_gateway_ip and not _is_address(config.host_gateway_ip):
        raise Invalid(f"host-gateway-ip is not an address: {config.host_gateway_ip!r}")
    if config.fixed_cidr_v6 and parse_subnet(config.fixed_cidr_v6).version != 6:
        raise Invalid(f"fixed-cidr-v6 is no IPv6 subnet: {config.fixed_cidr_v6!r}")
    _check_next_hop("default-gateway", config.default_gateway, "bip", config.bip)
    _check_next_hop("default-gateway-v6", config.default_gateway_v6, "fixed-cidr-v6", config.fixed_cidr_v6)
    for driver, options in config.default_network_opts.items():
        if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
            raise Invalid(f"default-network-opts of {driver} must be texts by name")
    if not re.fullmatch(r"1\.[0-9]{1,3}", config.min_api_version):
        raise Invalid(f"min-api-version is no API version: {config.min_api_version!r}")
    if not _minor(MIN_API_VERSION) <= _minor(config.min_api_version) <= _minor(API_VERSION):
        raise Invalid(f"min-api-version {config.min_api_version} is not from {MIN_API_VERSION} to {API_VERSION}")


def _minor(version: str) -> int:
    return int(version.partition(".")[2])


def _check_next_hop(key: str, address: str, needs: str, subnet: str) -> None:
    """The address has to be of the default bridge's subnet, which another setting gives."""
    if not address:
        return
    if not subnet:
        raise Invalid(f"{key} needs {needs}, the subnet that it is in")
    try:
        within = ipaddress.ip_address(address) in ipaddress.ip_interface(subnet).network
    except ValueError as error:
        raise Invalid(f"{key}: {error}") from None
    if not within:
        raise Invalid(f"{key} {address} is not in the subnet of {needs}, {subnet}")


def _check_limits(config: Config) -> None:
    """Sizes and ulimits that containers and guests get by default."""
    from corten.plan.validate.resources import check_ulimits
    from corten.spec.docker.decode import decode
    from corten.spec.docker.host_config import Ulimit
    from corten.units.sizes import parse_bytes

    try:
        parse_bytes(config.default_shm_size)
    except ValueError as error:
        raise Invalid(f"default-shm-size: {error}") from None
    if config.vm_kernel and not config.vm_kernel.startswith("/"):
        raise Invalid(f"vm-kernel must be an absolute path: {config.vm_kernel!r}")
    try:
        if parse_bytes(config.vm_memory) <= 0:
            raise ValueError("it must be more than nothing")
    except ValueError as error:
        raise Invalid(f"vm-memory: {error}") from None
    try:
        check_ulimits([decode(Ulimit, limit) for limit in config.default_ulimits.values()])
    except Invalid as error:
        raise Invalid(f"default-ulimits: {error}") from error


def _check_log(config: Config) -> None:
    from corten.plan.validate.logging import check_logging
    from corten.spec.docker.host_config import LogConfig

    if not all(isinstance(value, str) for value in config.log_opts.values()):
        raise Invalid(f"log-opts must be texts by name: {json.dumps(dict(config.log_opts))}")
    try:
        check_logging(LogConfig(type=config.log_driver, config=dict(config.log_opts)), config.log_driver)
    except (Invalid, Unsupported) as error:
        raise Invalid(f"failed to set log opts: {error}") from error


def _check_pools(pools: Sequence[Json]) -> None:
    for pool in pools:
        if set(pool) != {"base", "size"} or not str(pool["size"]).isdigit():
            raise Invalid(f"default-address-pool needs base=SUBNET,size=BITS: {pool}")
        parse_pool(str(pool["base"]), int(pool["size"]))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
