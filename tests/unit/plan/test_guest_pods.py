"""What a pod in a guest cannot have, each with what it can."""

from __future__ import annotations

import pytest

from corten.errors import Unsupported
from corten.plan.guest_pods import check_container, check_pod
from corten.spec.protobuf import cri

_CONTAINER, _NODE, _POD, _TARGET = (
    cri.NamespaceMode.CONTAINER,
    cri.NamespaceMode.NODE,
    cri.NamespaceMode.POD,
    cri.NamespaceMode.TARGET,
)


def pod(options: cri.NamespaceOption) -> cri.PodSandboxConfig:
    context = cri.LinuxSandboxSecurityContext(options)
    return cri.PodSandboxConfig(linux=cri.LinuxPodSandboxConfig(security_context=context))


PLAIN = pod(cri.NamespaceOption(pid=_CONTAINER))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (cri.NamespaceOption(network=_NODE, pid=_CONTAINER), "hostNetwork"),
        (cri.NamespaceOption(pid=_NODE), "hostPID"),
        (cri.NamespaceOption(pid=_POD), "shareProcessNamespace.*ask for the PID namespace CONTAINER"),
        (cri.NamespaceOption(ipc=_NODE, pid=_CONTAINER), "hostIPC"),
        (cri.NamespaceOption(pid=_CONTAINER, userns_options=cri.UserNamespace(_POD)), "hostUsers: false"),
    ],
)
def test_of_a_pod(options: cri.NamespaceOption, words: str) -> None:
    with pytest.raises(Unsupported, match=f"^a pod in a guest cannot have that: {words}"):
        check_pod(pod(options))


@pytest.mark.parametrize(
    "options",
    [cri.NamespaceOption(pid=_CONTAINER), cri.NamespaceOption(pid=_CONTAINER, userns_options=cri.UserNamespace(_NODE))],
)
def test_a_usual_pod(options: cri.NamespaceOption) -> None:
    check_pod(pod(options))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (cri.NamespaceOption(pid=_NODE), "hostPID"),
        (cri.NamespaceOption(pid=_POD), "shareProcessNamespace"),
        (cri.NamespaceOption(pid=_TARGET, target_id="other"), "the processes of another container"),
    ],
)
def test_of_a_container_s_processes(options: cri.NamespaceOption, words: str) -> None:
    context = cri.LinuxContainerSecurityContext(namespace_options=options)
    asked = cri.ContainerConfig(linux=cri.LinuxContainerConfig(security_context=context))
    with pytest.raises(Unsupported, match=f"^a container of a pod in a guest cannot have that: {words}"):
        check_container(asked, PLAIN)


def test_of_its_mounts() -> None:
    there = cri.Mount("/here", "/there", propagation=cri.Propagation.HOST_TO_CONTAINER)
    check_container(cri.ContainerConfig(mounts=[there]), PLAIN)
    there.propagation = cri.Propagation.BIDIRECTIONAL
    with pytest.raises(Unsupported, match="mountPropagation Bidirectional of /here"):
        check_container(cri.ContainerConfig(mounts=[there]), PLAIN)
