"""The planning functions of the engine over Docker's JSON, as a client would send it: decoded first, then asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from corten.engine.containers.container import Container
from corten.engine.containers.create import create as create_container
from corten.engine.engine import Engine
from corten.plan import process
from corten.plan.facts import HostFacts, MountPoint
from corten.plan.merge import merge_config as merge
from corten.plan.mount_parse import parse_mount as parse
from corten.plan.mount_points import mount_points as points
from corten.plan.security import capabilities as allowed
from corten.plan.update import update_resources as update
from corten.plan.validate import create as checks
from corten.plan.validate.defaults import normalize_host_config as normalize
from corten.spec.docker.config import Config, ImageConfig, NetworkingConfig
from corten.spec.docker.decode import decode
from corten.spec.docker.exec import ExecConfig
from corten.spec.docker.host_config import HostConfig, PortBinding, UpdateConfig
from corten.spec.docker.mount import Mount
from corten.spec.docker.networking import EndpointSettings, NetworkCreate
from corten.spec.docker.struct import Struct

Json = dict[str, Any]
S = TypeVar("S", bound=Struct)


def of(struct: type[S], value: Any) -> S:
    return value if isinstance(value, struct) else decode(struct, value)


def merge_config(image: Json, asked: Json | Config) -> Config:
    return merge(of(ImageConfig, image), of(Config, asked))


def normalize_host_config(host: Json | HostConfig | None, facts: HostFacts) -> HostConfig:
    return normalize(of(HostConfig, host), facts)


def check_create(config: Json | Config, host: Any, networking: Any, facts: HostFacts) -> list[str]:
    return checks.check_create(of(Config, config), of(HostConfig, host), of(NetworkingConfig, networking), facts)


def check_exec(body: Json) -> None:
    checks.check_exec(of(ExecConfig, body))


def capabilities(host: Json, facts: HostFacts) -> list[str]:
    return allowed(of(HostConfig, host), facts)


def mount_points(
    config: Json | Config,
    host: Json | HostConfig,
    volumes_from: Mapping[str, Sequence[MountPoint]] | None = None,
    exists: Callable[[str], bool] | None = None,
    data_root: str = "",
) -> list[MountPoint]:
    return points(of(Config, config), of(HostConfig, host), volumes_from, exists, data_root=data_root)


def parse_mount(mount: Json, exists: Callable[[str], bool] | None = None) -> MountPoint:
    return parse(of(Mount, mount), exists)


def update_resources(
    host: Json | HostConfig, body: Json, facts: HostFacts, container_id: str = ""
) -> tuple[HostConfig, Json, list[str]]:
    return update(of(HostConfig, host), of(UpdateConfig, body), facts, container_id)


def exec_process(body: Json, config: Config, host: HostConfig, spec: Json, facts: HostFacts) -> Json:
    return process.exec_process(of(ExecConfig, body), config, host, spec, facts)


def network(body: Json) -> NetworkCreate:
    return of(NetworkCreate, body)


def endpoint(settings: Json) -> EndpointSettings:
    return of(EndpointSettings, settings)


def port_map(bindings: Json) -> dict[str, list[PortBinding]]:
    """HostConfig.PortBindings."""
    return of(HostConfig, {"PortBindings": bindings}).port_bindings or {}


async def create(engine: Engine, config: Json, host: Json | None = None, name: str = "") -> tuple[Container, list[str]]:
    """POST /containers/create."""
    return await create_container(engine.containers, name, of(Config, config), of(HostConfig, host), NetworkingConfig())
