"""Kubernetes' containers as Docker's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corten.errors import Invalid, Unsupported
from corten.plan import pods as plan
from corten.plan.facts import HostFacts
from corten.plan.pod_texts import check_texts
from corten.plan.validate.defaults import normalize_host_config
from corten.spec.docker.config import Config
from corten.spec.docker.host_config import HostConfig
from corten.spec.protobuf import cri
from corten.spec.protobuf.codec import Message

FACTS = HostFacts(("CAP_CHOWN",), lowest_oom_score_adj=-500)
NODE, POD = cri.NamespaceMode.NODE, cri.NamespaceMode.POD


def pod(options: cri.NamespaceOption | None = None, **sysctls: str) -> cri.PodSandboxConfig:
    context = cri.LinuxSandboxSecurityContext(options)
    named = {key.replace("__", "."): value for key, value in sysctls.items()}
    linux = cri.LinuxPodSandboxConfig("/kubepods/pod1", context, named)
    return cri.PodSandboxConfig(cri.PodSandboxMetadata("web", "u", "default"), hostname="web", linux=linux)


def container(context: cri.LinuxContainerSecurityContext | None = None, **more: object) -> cri.ContainerConfig:
    made = cri.ContainerConfig(cri.ContainerMetadata("c"), cri.ImageSpec("image"))
    made.linux = cri.LinuxContainerConfig(security_context=context)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def asked(
    made: cri.ContainerConfig, of: cri.PodSandboxConfig | None = None, profile: str = ""
) -> tuple[Config, HostConfig]:
    return plan.container_request(made, of or pod(), FACTS, profile, ["10.0.0.2"])


def test_commands_replace_what_the_image_says() -> None:
    config, _ = asked(container(args=["a"]))
    assert (config.entrypoint, config.cmd) == (None, ["a"]), "arguments of the image's own program"
    config, _ = asked(container(command=["sh"], envs=[cri.KeyValue("K", b"v=w")], tty=True))
    assert (config.entrypoint, config.cmd, config.env, config.tty) == (["sh"], None, ["K=v=w"], True)
    assert config.healthcheck is not None and config.healthcheck.test == ["NONE"]


def test_users() -> None:
    number = cri.Int64Value
    for context, user in (
        (cri.LinuxContainerSecurityContext(run_as_user=number(0)), "0"),
        (cri.LinuxContainerSecurityContext(run_as_user=number(5), run_as_group=number(6)), "5:6"),
        (cri.LinuxContainerSecurityContext(run_as_username="www", run_as_group=number(6)), "www:6"),
    ):
        assert asked(container(context))[0].user == user
    for bad in (
        cri.LinuxContainerSecurityContext(run_as_group=number(6)),
        cri.LinuxContainerSecurityContext(run_as_user=number(-1)),
        cri.LinuxContainerSecurityContext(supplemental_groups=[1 << 40]),
    ):
        with pytest.raises(Invalid):
            asked(container(bad))


def test_profiles_of_system_calls() -> None:
    kinds = cri.ProfileType
    for kind, option in (
        (kinds.RUNTIME_DEFAULT, "seccomp=builtin"),
        (kinds.UNCONFINED, "seccomp=unconfined"),
        (kinds.LOCALHOST, "seccomp={}"),
    ):
        context = cri.LinuxContainerSecurityContext(seccomp=cri.SecurityProfile(kind), no_new_privs=True)
        assert asked(container(context), profile="{}")[1].security_opt == ["no-new-privileges", option]
    assert asked(container())[1].security_opt == ["seccomp=unconfined"], "what the interface means by none"


def test_mounts() -> None:
    mounts = [
        cri.Mount("/a", "/host", readonly=True),
        cri.Mount("b", "/host", readonly=True, recursive_read_only=True),
        cri.Mount("/c", "/host", propagation=cri.Propagation.BIDIRECTIONAL),
        cri.Mount("/d", readonly=True, image=cri.ImageSpec("data"), image_sub_path="x"),
    ]
    first, second, third, fourth = asked(container(mounts=mounts))[1].mounts or []
    assert first.bind_options is not None and first.bind_options.read_only_non_recursive
    assert second.target == "/b" and second.bind_options is not None and second.bind_options.read_only_force_recursive
    assert third.bind_options is not None and third.bind_options.propagation == "rshared"
    assert (fourth.type, fourth.read_only) == ("image", True)
    for bad in (
        cri.Mount("/a", "/host", recursive_read_only=True),
        cri.Mount("/a", "/host", readonly=True, recursive_read_only=True, propagation=1),
        cri.Mount("/a", "/host", propagation=7),
        cri.Mount("/d", image=cri.ImageSpec("data")),
    ):
        with pytest.raises(Invalid):
            asked(container(mounts=[bad]))


def test_the_host_of_a_pod_on_the_host() -> None:
    config, host = asked(container(), pod(cri.NamespaceOption(NODE, NODE, NODE)))
    assert (host.network_mode, host.pid_mode, host.ipc_mode, host.uts_mode) == ("host",) * 4
    assert not config.hostname and not config.network_disabled
    _, host = asked(container())
    assert (host.network_mode, host.pid_mode, host.ipc_mode) == ("none", "", "private")
    for name in ("net__core__somaxconn", "kernel__shmmax"):
        with pytest.raises(Invalid, match="is the host's"):
            asked(container(), pod(cri.NamespaceOption(NODE, POD, NODE), **{name: "1"}))


def test_limits() -> None:
    made = container()
    assert made.linux is not None
    made.linux.resources = cri.LinuxContainerResources(
        cpu_quota=5000, cpu_period=10_000, memory_limit_in_bytes=1 << 20, oom_score_adj=-997
    )
    host = asked(made)[1]
    assert (host.cpu_quota, host.memory, host.memory_swap, host.oom_score_adj) == (5000, 1 << 20, -1, -500)
    assert host.cgroup_parent == "/kubepods/pod1"
    made.linux.resources = cri.LinuxContainerResources(hugepage_limits=[cri.HugepageLimit("2MB", 1)])
    with pytest.raises(Unsupported, match="huge pages"):
        asked(made)


def test_ids_of_a_pod() -> None:
    ids = [cri.IDMapping(100_000, 0, 65_536)]
    own = pod(cri.NamespaceOption(userns_options=cri.UserNamespace(POD, ids, ids)))
    assert plan.pod_ids(own) == ([(0, 100_000, 65_536)], [(0, 100_000, 65_536)]) and plan.pod_ids(pod()) == ([], [])
    mount = cri.Mount("/a/../b", "/host", uid_mappings=ids, gid_mappings=ids)
    assert plan.idmapped(container(mounts=[mount]), own) == ["/b"]
    with pytest.raises(Unsupported, match="not the pod's"):
        plan.idmapped(container(mounts=[replace(mount, gid_mappings=[])]), own)
    for bad in (
        cri.UserNamespace(POD, ids, []),
        cri.UserNamespace(POD, [cri.IDMapping(0, 0, 0)], ids),
        cri.UserNamespace(POD, ids * 400, ids),
        cri.UserNamespace(POD, [*ids, cri.IDMapping(300_000, 5, 5)], ids),
        cri.UserNamespace(POD, [*ids, cri.IDMapping(100_005, 70_000, 5)], ids),
        cri.UserNamespace(POD, ids, [cri.IDMapping(100_000, 1, 65_536)]),
        cri.UserNamespace(POD, ids, [cri.IDMapping((1 << 32) - 5, 0, 5)]),
        cri.UserNamespace(NODE, ids, ids),
    ):
        with pytest.raises(Invalid):
            plan.pod_ids(pod(cri.NamespaceOption(userns_options=bad)))


def test_stop_signals_by_number() -> None:
    for number in (0, 1, 23, 50, 51, 65):
        assert plan.signal_number(plan.stop_signal(number)) == number
    assert (plan.stop_signal(23), plan.signal_number("term")) == ("SIGTERM", 23)
    for number in (-1, 66):
        with pytest.raises(Invalid):
            plan.stop_signal(number)


def test_it_stands_behind_docker_s_defaults() -> None:
    host = normalize_host_config(asked(container())[1], FACTS)
    assert host.masked_paths and host.readonly_paths and host.log_config.type == "none"


def test_texts_that_the_kernel_cannot_have() -> None:
    """A NUL ends a name or a path there; what is only shown may have one."""
    check_texts(container(annotations={"a": "\0"}, labels={"\0": ""}, envs=[cri.KeyValue("K", "\u00e4".encode())]))
    several: list[Message] = [
        container(command=["sh", "a\0b"]),
        container(mounts=[cri.Mount("/a", "/b\0")]),
        container(envs=[cri.KeyValue("K", b"\0")]),
        container(cdi_devices=[cri.CDIDevice("a\0")]),
        container(metadata=cri.ContainerMetadata("\0")),
        cri.PodSandboxConfig(linux=cri.LinuxPodSandboxConfig(sysctls={"kernel\0": "1"})),
    ]
    for each in several:
        with pytest.raises(Invalid, match="must not contain a NUL"):
            check_texts(each)
    with pytest.raises(Invalid, match="K is not UTF-8"):
        asked(container(envs=[cri.KeyValue("K", b"\xff")]))


def test_modes_of_namespaces() -> None:
    for good in cri.NamespaceMode:
        plan.check_namespaces(cri.NamespaceOption(good, good, good))
    for bad in (-1, 4):
        for kind, options in (
            ("network", cri.NamespaceOption(network=bad)),
            ("pid", cri.NamespaceOption(pid=bad)),
            ("ipc", cri.NamespaceOption(ipc=bad)),
        ):
            with pytest.raises(Invalid, match=f"unknown mode {bad} of the {kind} namespace"):
                plan.check_namespaces(options)
