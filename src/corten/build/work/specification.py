"""A RUN as a specification for the runtime: what `corten run` would give a container, with a build's own few rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from corten.build.contract import Limits, RunStep
from corten.build.work.mounts import StepMounts
from corten.plan.document import container_spec
from corten.plan.facts import HostFacts, SpecInputs
from corten.plan.merge import override_env
from corten.plan.mounts import bundle_files
from corten.plan.process import DEFAULT_PATH
from corten.plan.validate.defaults import normalize_host_config
from corten.plan.validate.resources import check_resources
from corten.spec.docker.config import Config
from corten.spec.docker.host_config import HostConfig, Ulimit
from corten.spec.json import Json


def network_of(step: RunStep) -> str:
    """The name of the network that a step is connected to."""
    return "bridge" if step.network in ("", "default") else step.network


def host_config(step: RunStep, facts: HostFacts) -> HostConfig:
    """Raises Invalid for limits that no container could have."""
    limits = step.limits
    asked = HostConfig(
        network_mode=network_of(step),
        privileged=step.insecure,
        memory=limits.memory,
        memory_swap=limits.memory_swap,
        cpu_shares=limits.cpu_shares,
        cpu_period=limits.cpu_period,
        cpu_quota=limits.cpu_quota,
        cpuset_cpus=limits.cpuset_cpus,
        cpuset_mems=limits.cpuset_mems,
        shm_size=limits.shm_size,
        cgroup_parent=limits.cgroup_parent,
        ulimits=_ulimits(limits),
        init=False,
    )
    check_resources(asked, facts)
    return normalize_host_config(asked, facts)


def _ulimits(limits: Limits) -> list[Ulimit] | None:
    return [Ulimit(name=name, soft=soft, hard=hard) for name, soft, hard in limits.ulimits] or None


def specification(
    id: str,
    step: RunStep,
    bundle: Path,
    disk: Path,
    namespaces: Mapping[str, str],
    seccomp: Json | None,
    cgroup: str,
    facts: HostFacts,
    mounts: StepMounts,
    console: tuple[int, int] | None = None,
) -> Json:
    """config.json. `bundle` and `disk` are the step's directories in memory and on the disk, `mounts` its own mounts;
    `console` is the size of its terminal, where it has one."""
    config = Config(
        cmd=list(step.args),
        env=list(step.env),
        user=step.user,
        working_dir=step.cwd,
        hostname=step.hostname,
        tty=console is not None,
    )
    host = host_config(step, facts)
    if console is not None:
        host = host.replace(console_size=list(console))
    inputs = SpecInputs(
        id=id,
        name=id,
        config=config,
        host_config=host,
        bundle=bundle,
        files={**bundle_files(str(disk)), **mounts.files},
        mounts=mounts.points,
        namespaces=namespaces,
        seccomp=seccomp,
        cgroup_path=cgroup,
        mounted=mounts.mounted,
    )
    spec = container_spec(inputs, facts)
    # As BuildKit's steps have it: a HOSTNAME that changes would be in every file that a build writes it to.
    shown = ["TERM=xterm"] if console is not None else []
    spec["process"]["env"] = override_env([DEFAULT_PATH, *shown], [*step.env, *mounts.env])
    return spec


def stubs(spec: Json) -> list[str]:
    """Places that mounts are put on: what is made for them is no part of a layer."""
    return [mount["destination"] for mount in spec["mounts"]]
