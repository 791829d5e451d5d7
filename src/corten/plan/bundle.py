"""What a container's supervisor is given beside the specification. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corten.plan.facts import HostFacts
from corten.plan.namespaces import remapped
from corten.plan.validate.logging import max_size
from corten.spec.docker.config import Config
from corten.spec.docker.host_config import HostConfig
from corten.spec.id_map import IdRange
from corten.spec.json import Json
from corten.tasks.contract import IdMap, LogFile

_LOCAL_SIZE, _LOCAL_FILES = 20 << 20, 5  # of Docker's log driver "local"


@dataclass(frozen=True, slots=True)
class LogDefaults:
    """Bytes of a log file, and how many are kept, where the container says nothing."""

    max_size: int
    max_file: int


def log_file(path: Path | None, config: Config, host_config: HostConfig, defaults: LogDefaults) -> LogFile:
    """Docker's options max-size, max-file, labels and env; logs are rotated also where no option says how."""
    log = host_config.log_config
    options = log.config or {}
    if log.type == "local":
        defaults = LogDefaults(_LOCAL_SIZE, _LOCAL_FILES)
    labels = config.labels or {}
    extra = {key: labels[key] for key in _names(options.get("labels")) if key in labels}
    env = dict(entry.partition("=")[::2] for entry in config.env or ())
    extra |= {key: env[key] for key in _names(options.get("env")) if key in env}
    return LogFile(
        path=path,
        max_size=max_size(options["max-size"]) if options.get("max-size") else defaults.max_size,
        max_file=int(options["max-file"]) if options.get("max-file") else defaults.max_file,
        labels=extra,
    )


def _names(text: str | None) -> list[str]:
    return [name for name in (text or "").split(",") if name]


def clone_namespaces(spec: Json) -> tuple[str, ...] | None:
    """Namespaces that the first process can be cloned into before the specification is read; see `Bundle`."""
    paths = {namespace["type"]: namespace.get("path") for namespace in spec["linux"]["namespaces"]}
    if "user" in paths or paths.get("pid"):
        return None
    return tuple(kind for kind in ("pid", "time") if kind in paths)


def root_owner(host_config: HostConfig, facts: HostFacts) -> tuple[int, int]:
    """The host's user and group that the container's root is."""
    if not remapped(host_config, facts):
        return 0, 0
    return facts.uid_map[0].host, facts.gid_map[0].host


def id_map(host_config: HostConfig, facts: HostFacts) -> IdMap | None:
    """None for a container in the host's user namespace."""
    if not remapped(host_config, facts):
        return None
    return IdMap(_lines(facts.uid_map), _lines(facts.gid_map))


def _lines(ranges: tuple[IdRange, ...]) -> str:
    return "".join(f"{line.container} {line.host} {line.size}\n" for line in ranges)
