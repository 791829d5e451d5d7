"""OCI's `process` object: a container's first program, and a further one for exec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corten.plan.facts import HostFacts, SpecInputs
from corten.plan.merge import override_env
from corten.plan.security import capabilities, capability_sets, parse_security_options
from corten.spec.default_path import PATH
from corten.spec.docker.config import Config
from corten.spec.docker.exec import ExecConfig
from corten.spec.docker.host_config import HostConfig, Ulimit
from corten.spec.json import Json

DEFAULT_PATH = f"PATH={PATH}"
INIT_IN_CONTAINER = "/sbin/docker-init"
GROUPS_ANNOTATION = "dev.corten.groups"
_MAX_ID = 2**31 - 1


def container_process(inputs: SpecInputs, facts: HostFacts) -> Json:
    """The first process. HOME is left to the runtime, which alone sees the container's /etc/passwd."""
    config, host = inputs.config, inputs.host_config
    security = parse_security_options(host.security_opt, facts.default_no_new_privileges)
    process: Json = {
        "terminal": config.tty,
        "user": user(config.user, host.group_add or (), inputs.strict_groups),
        "args": _arguments(config, host, facts),
        "env": environment(config, inputs.linked_env),
        "cwd": config.working_dir or "/",
        "capabilities": _capabilities(inputs, facts),
        "noNewPrivileges": security.no_new_privileges,
        "oomScoreAdj": host.oom_score_adj,
    }
    if security.apparmor:
        process["apparmorProfile"] = security.apparmor
    limits = rlimits(host.ulimits or (), facts)
    if limits:
        process["rlimits"] = limits
    process.update(_console(host.console_size))
    return process


def _capabilities(inputs: SpecInputs, facts: HostFacts) -> dict[str, list[str]]:
    """With ambient ones, which execve(2) keeps for every user, and which have to be inheritable and permitted."""
    names = capabilities(inputs.host_config, facts)
    sets = capability_sets(names, _may_be_root(inputs.config.user))
    ambient = [name for name in names if name in inputs.ambient]
    if not ambient:
        return sets
    held = [*dict.fromkeys([*sets.get("permitted", ()), *ambient])]
    return {**sets, "permitted": held, "effective": held, "inheritable": ambient, "ambient": ambient}


def environment(config: Config, linked: Sequence[str] = (), tty: bool | None = None) -> list[str]:
    """PATH, HOSTNAME, TERM with a terminal, what links add; then the container's own, each in its key's place."""
    base = [DEFAULT_PATH, "HOSTNAME=" + config.hostname]
    if config.tty if tty is None else tty:
        base.append("TERM=xterm")
    return override_env([*base, *linked], config.env or ())


def user(text: str, group_add: Sequence[str], strict: bool = False) -> Json:
    """Docker's USER text for the runtime to look up, with the numbers where it has numbers.

    The runtime resolves `username` in the container's own files; `uid` and `gid` serve runtimes that do not. Names in
    `group_add` travel in an annotation, see `named_groups`. `strict`: the group file adds none.
    """
    name, _, group = text.partition(":")
    result: Json = {"uid": _number(name), "gid": _number(group), "username": text or "0"}
    extra = [int(entry) for entry in group_add if _is_id(entry)]
    if extra:
        result["additionalGids"] = extra
    if strict:
        result["strictGroups"] = True
    return result


def named_groups(group_add: Sequence[str]) -> str:
    """The groups of --group-add that are names, comma separated."""
    return ",".join(entry for entry in group_add if not _is_id(entry))


def rlimits(asked: Sequence[Ulimit], facts: HostFacts) -> list[Json]:
    """The container's ulimits, then the daemon's defaults that it does not name."""
    named = {entry.name for entry in asked}
    defaults = [entry for name, entry in facts.default_ulimits.items() if name not in named]
    return [
        {"type": "RLIMIT_" + entry.name.upper(), "hard": _unsigned(entry.hard), "soft": _unsigned(entry.soft)}
        for entry in (*asked, *defaults)
    ]


def runs_init(host: HostConfig, facts: HostFacts) -> bool:
    """--init only makes sense for the first process of a pid namespace of one's own."""
    wanted = host.init
    return bool(facts.default_init if wanted is None else wanted) and not host.pid_mode


def exec_process(
    exec_config: ExecConfig,
    config: Config,
    host_config: HostConfig,
    spec: Mapping[str, Any],
    facts: HostFacts,
    linked_env: Sequence[str] = (),
) -> Json:
    """OCI's process for docker exec.

    `exec_config` is the body of POST /containers/ID/exec; `config` and `host_config` are the container's, `spec` is
    the document it runs with. Limits, capabilities and no_new_privileges are the container's own; only --privileged
    widens them. `groupNames`, which OCI has not, are the groups that are to be looked up in the container.
    """
    tty = exec_config.tty
    account = exec_config.user or config.user
    names = facts.capabilities if exec_config.privileged else spec["process"]["capabilities"]["bounding"]
    process: Json = {
        "terminal": tty,
        "user": user(account, host_config.group_add or (), bool(spec["process"]["user"].get("strictGroups"))),
        "args": list(exec_config.cmd or ()),
        "env": override_env(environment(config, linked_env, tty), exec_config.env or ()),
        "cwd": exec_config.working_dir or config.working_dir or "/",
        "capabilities": capability_sets(names, _may_be_root(account)),
        "noNewPrivileges": spec["process"].get("noNewPrivileges", False),
        "oomScoreAdj": spec["process"].get("oomScoreAdj", 0),
        "groupNames": [name for name in spec.get("annotations", {}).get(GROUPS_ANNOTATION, "").split(",") if name],
    }
    for kept in ("rlimits", "apparmorProfile"):
        if spec["process"].get(kept):
            process[kept] = spec["process"][kept]
    if tty:
        process.update(_console(exec_config.console_size))
    return process


def _console(size: Sequence[int]) -> Json:
    """consoleSize for rows and columns that are both given."""
    return {"consoleSize": {"height": size[0], "width": size[1]}} if len(size) == 2 and all(size) else {}


def _arguments(config: Config, host: HostConfig, facts: HostFacts) -> list[str]:
    words = config.command_line()
    return [INIT_IN_CONTAINER, *facts.init_args, "--", *words] if runs_init(host, facts) else words


def _may_be_root(text: str) -> bool:
    """False for a number that is not 0. What a name stands for is known to the runtime only."""
    name = text.partition(":")[0]
    return not _is_id(name) or int(name) == 0


def _is_id(text: str) -> bool:
    """Plain ASCII digits in the range of a uid_t that Docker takes: anything else is a name (CVE-2024-40635)."""
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MAX_ID


def _number(text: str) -> int:
    return int(text) if _is_id(text) else 0


def _unsigned(value: int) -> int:
    """-1 is "unlimited", which OCI writes as the largest 64-bit number."""
    return value if value >= 0 else 2**64 + value
