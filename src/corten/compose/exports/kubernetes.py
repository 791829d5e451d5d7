"""Kubernetes' manifests: a Deployment or a Job for each service, Services for its ports, claims for volumes, ConfigMaps
and Secrets for files.

A service that others wait for until it has completed is a Job. Kubernetes starts all at once and has no order: what a
service waits for it has to try again itself. Its health check becomes the probe before which it gets no requests.
"""

from __future__ import annotations

import base64
import re

from corten.compose.exports import Exported
from corten.compose.model import Healthcheck, Project, Service
from corten.compose.output import yaml
from corten.compose.plan.operations import COMPLETED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_SECOND = 1_000_000_000
_NAME = re.compile(r"[^a-z0-9-]+")
_SIZE = "1Gi"  # of a claim: Compose's volumes have none


def kubernetes(project: Project) -> Exported:
    found = Exported()
    jobs = {
        name for service in project.services.values() for name, each in service.depends_on.items()
        if each.condition == COMPLETED
    }  # fmt: skip
    documents: list[Json] = []
    for key, volume in project.volumes.items():
        if not volume.external:
            documents.append(_claim(project, key))
            found.warnings.append(f"volume {key}: asks for {_SIZE}: change it to what you need")
    documents += _files(project, found.warnings)
    for name, service in project.services.items():
        if service.provider is not None:
            found.warnings.append(f"service {name}: a provider has no manifest")
            continue
        documents.append(_workload(project, service, name in jobs, found.warnings))
        if service.ports or service.expose:
            documents.append(_service(project, service))
        if service.depends_on:
            waits = ", ".join(sorted(service.depends_on))
            found.warnings.append(f"service {name}: starts without waiting for {waits}")
    found.files[f"{project.name}.yaml"] = "---\n".join(yaml(each) for each in documents)
    return found


def _name(text: str) -> str:
    """As RFC 1123 has labels."""
    return _NAME.sub("-", text.lower()).strip("-")[:63] or "x"


def _labels(project: Project, name: str) -> Json:
    return {"app.kubernetes.io/name": _name(name), "app.kubernetes.io/part-of": _name(project.name)}


def _meta(project: Project, name: str) -> Json:
    return {"name": _name(name), "labels": _labels(project, name)}


def _claim(project: Project, key: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _meta(project, key),
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": _SIZE}}},
    }


def _files(project: Project, warnings: list[str]) -> list[Json]:
    found = []
    if project.secrets:
        warnings.append("the manifests have the values of secrets in them: keep them as you keep those")
    for kind, objects in (("Secret", project.secrets), ("ConfigMap", project.configs)):
        for key, each in objects.items():
            content = each.content.encode("utf-8", "surrogateescape")
            if each.file:
                try:
                    with open(each.file, "rb") as file:
                        content = file.read(1 << 20)
                except OSError as error:
                    warnings.append(f"{kind} {key}: {each.file} cannot be read ({error.strerror}): it is empty")
            data = {key: base64.b64encode(content).decode()}
            where = "data" if kind == "Secret" else "binaryData"
            found.append({"apiVersion": "v1", "kind": kind, "metadata": _meta(project, key), where: data})
    return found


def _workload(project: Project, service: Service, job: bool, warnings: list[str]) -> Json:
    name = service.name
    if service.build is not None:
        warnings.append(f"service {name}: build and push {project.image_of(service)} first")
    volumes, mounts = _mounts(project, service, warnings)
    policy = "Never" if service.restart == "no" else "OnFailure"
    pod: Json = {
        "containers": [_container(project, service, mounts)],
        **({"volumes": volumes} if volumes else {}),
        **({"hostname": service.hostname} if service.hostname else {}),
        **({"hostNetwork": True} if service.network_mode == "host" else {}),
        **({"hostPID": True} if service.pid == "host" else {}),
        **({"restartPolicy": policy} if job else {}),
    }
    if service.stop_grace_period is not None:
        pod["terminationGracePeriodSeconds"] = service.stop_grace_period // _SECOND
    if service.network_mode.startswith(("service:", "container:")):
        warnings.append(f"service {name}: network_mode {service.network_mode}: put both containers into one pod")
    template = {"metadata": {"labels": _labels(project, name)}, "spec": pod}
    if job:
        spec: Json = {"template": template}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": _meta(project, name), "spec": spec}
    spec = {
        "replicas": service.replicas,
        "selector": {"matchLabels": _labels(project, name)},
        "template": template,
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _meta(project, name), "spec": spec}


def _container(project: Project, service: Service, mounts: list[Json]) -> Json:
    ports = [
        {"containerPort": each.target, **({"protocol": each.protocol.upper()} if each.protocol == "udp" else {})}
        for each in service.ports
    ]
    found: Json = {
        "name": _name(service.name),
        "image": project.image_of(service),
        "command": list(service.entrypoint or ()),
        "args": [word.replace("$(", "$$(") for word in service.command or ()],
        "env": [
            {"name": key, "value": value.replace("$(", "$$(")}
            for key, value in service.environment.items()
            if value is not None
        ],
        "ports": ports,
        "volumeMounts": mounts,
        "workingDir": service.working_dir,
        "tty": service.tty,
        "stdin": service.stdin_open,
        "resources": _resources(service),
        "securityContext": _security(service),
    }
    if service.healthcheck is not None and (probe := _probe(service.healthcheck)) is not None:
        found["readinessProbe"] = probe
    return {key: value for key, value in found.items() if value}


def _resources(service: Service) -> Json:
    limits = service.deploy.resources.limits if service.deploy is not None else None
    cpus = limits.cpus if limits is not None and limits.cpus else service.cpus
    asked: Json = {}
    if cpus:
        asked["cpu"] = f"{round(cpus * 1000)}m"
    if service.mem_limit:
        asked["memory"] = str(int(service.mem_limit))
    reserved: Json = {"memory": str(int(service.mem_reservation))} if service.mem_reservation else {}
    return {**({"limits": asked} if asked else {}), **({"requests": reserved} if reserved else {})}


def _security(service: Service) -> Json:
    found: Json = {}
    user, _, group = service.user.partition(":")
    if user.isdigit():
        found["runAsUser"] = int(user)
    if group.isdigit():
        found["runAsGroup"] = int(group)
    if service.privileged:
        found["privileged"] = True
    if service.read_only:
        found["readOnlyRootFilesystem"] = True
    changed = {"add": list(service.cap_add), "drop": list(service.cap_drop)}
    if any(changed.values()):
        found["capabilities"] = {key: value for key, value in changed.items() if value}
    return found


def _probe(check: Healthcheck) -> Json | None:
    if check.disable or not check.test or check.test[0] == "NONE":
        return None
    kind, *words = check.test
    found: Json = {"exec": {"command": ["/bin/sh", "-c", words[0]] if kind == "CMD-SHELL" else words}}
    for key, value in (
        ("periodSeconds", check.interval),
        ("timeoutSeconds", check.timeout),
        ("initialDelaySeconds", check.start_period),
    ):
        if value:
            found[key] = max(1, round(value / _SECOND))
    if check.retries:
        found["failureThreshold"] = check.retries
    return found


def _mounts(project: Project, service: Service, warnings: list[str]) -> tuple[list[Json], list[Json]]:
    volumes: dict[str, Json] = {}
    mounts: list[Json] = []
    for number, each in enumerate(service.volumes):
        if each.type == "volume" and each.source:
            name, source = _name(each.source), {"persistentVolumeClaim": {"claimName": _name(each.source)}}
        elif each.type == "bind":
            name, source = f"path-{number}", {"hostPath": {"path": each.source}}
            warnings.append(f"service {service.name}: {each.source} is mounted from the node that it runs on")
        elif each.type in ("volume", "tmpfs"):
            name, source = f"empty-{number}", {"emptyDir": {"medium": "Memory"} if each.type == "tmpfs" else {}}
        else:
            warnings.append(f"service {service.name}: a mount of type {each.type} ({each.target}) is left out")
            continue
        volumes[name] = {"name": name, **source}
        mounts.append({"name": name, "mountPath": each.target, **({"readOnly": True} if each.read_only else {})})
    for kind, references, directory in (
        ("secret", service.secrets, "/run/secrets/"),
        ("configMap", service.configs, "/"),
    ):
        for file in references:
            name = _name(f"{kind}-{file.source}")
            where = {"secretName": _name(file.source)} if kind == "secret" else {"name": _name(file.source)}
            volumes[name] = {"name": name, kind: where}
            target = file.target or file.source
            path = target if target.startswith("/") else f"{directory}{target}"
            mounts.append({"name": name, "mountPath": path, "subPath": file.source, "readOnly": True})
    return list(volumes.values()), mounts


def _service(project: Project, service: Service) -> Json:
    """Published ports are reached from outside of the cluster by its load balancer, exposed ones within."""
    ports: dict[str, Json] = {}
    for each in service.ports:
        outside = int(each.published) if each.published.isdigit() else each.target
        protocol = (each.protocol or "tcp").upper()
        entry = {"name": f"p{outside}-{protocol.lower()}", "port": outside, "targetPort": each.target}
        ports[str(entry["name"])] = {**entry, "protocol": protocol}
    for text in service.expose:
        number = text.partition("/")[0].partition("-")[0]
        ports.setdefault(f"p{number}-tcp", {"name": f"p{number}-tcp", "port": int(number), "targetPort": int(number)})
    spec: Json = {"selector": _labels(project, service.name), "ports": list(ports.values())}
    if service.ports:
        spec["type"] = "LoadBalancer"
    return {"apiVersion": "v1", "kind": "Service", "metadata": _meta(project, service.name), "spec": spec}
