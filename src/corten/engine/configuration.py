"""The daemon's settings and the machine's facts, as values that the rooms of the engine read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from corten.images.policy import Policy
from corten.plan.bundle import LogDefaults
from corten.plan.facts import HostFacts
from corten.plan.runtimes import OciRuntime


@dataclass(frozen=True, slots=True)
class Settings:
    """The daemon's settings, as far as they show in the API or change what the engine does."""

    data_root: Path
    exec_root: Path
    driver: str = "overlay"
    labels: tuple[str, ...] = ()
    debug: bool = False
    stop_timeout: int = 10
    cgroup_parent: str = "/corten"
    log_defaults: LogDefaults = field(default_factory=lambda: LogDefaults(50 << 20, 3))
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    proxies: tuple[str, str, str] = (
        "",
        "",
        "",
    )  # for http and https, hosts without one; no passwords
    security_options: tuple[str, ...] = ("name=seccomp,profile=builtin",)
    runtimes: Mapping[str, OciRuntime] = field(default_factory=dict)  # beside our own
    cdi_spec_dirs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    image_gc: Policy = field(default_factory=Policy)
    address_pools: tuple[tuple[str, int], ...] = ()
    min_api_version: str = "1.24"
    cni_config: str = "/etc/cni/net.d"
    cni_plugins: tuple[str, ...] = ("/opt/cni/bin",)
    cni_gc: bool = False


class Configuration:
    """`settings` and `facts`, which are replaced while the daemon runs (SIGHUP): to be read anew each time."""

    def __init__(self, settings: Settings, facts: HostFacts) -> None:
        self.settings = settings
        self.facts = facts

    def replace(self, settings: Settings, facts: HostFacts) -> None:
        self.settings, self.facts = settings, facts
