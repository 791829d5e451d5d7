"""Projects in the words of systemd and of Kubernetes, as text."""

from __future__ import annotations

from textwrap import dedent

import pytest
from ruamel.yaml import YAML

from corten.compose.exports.kubernetes import kubernetes
from corten.compose.exports.quadlet import quadlet
from corten.compose.model import (
    Config,
    DependsOn,
    Duration,
    FileReference,
    Healthcheck,
    Network,
    Port,
    Project,
    Secret,
    Service,
    ServiceNetwork,
    ServiceVolume,
    Volume,
)

PROJECT = Project(
    name="demo",
    services={
        "db": Service(
            name="db",
            image="db:1",
            environment={"A": 'say "50%" $x', "UNSET": None},
            networks={"default": ServiceNetwork(aliases=("store",))},
            volumes=(
                ServiceVolume(type="volume", source="data", target="/data"),
                ServiceVolume(type="bind", source="/srv/x y", target="/x", read_only=True),
            ),
            healthcheck=Healthcheck(test=("CMD-SHELL", "test 100% = x"), interval=Duration(1_500_000_000), retries=3),
            secrets=(FileReference(source="key", target="/run/secrets/key"),),
            restart="unless-stopped",
        ),
        "init": Service(
            name="init",
            image="init",
            command=("sh", "-c", 'echo $HOME "$(x)"; exit'),
            networks={"default": None},
            depends_on={"db": DependsOn(condition="service_healthy")},
        ),
        "web": Service(
            name="web",
            image="web",
            scale=2,
            networks={"default": None},
            ports=(Port(target=80, published="8080", host_ip="127.0.0.1"), Port(target=53, protocol="udp")),
            depends_on={"init": DependsOn(condition="service_completed_successfully")},
        ),
    },
    networks={"default": Network(name="demo_default", internal=True)},
    volumes={"data": Volume(name="demo_data")},
    secrets={"key": Secret(name="demo_key", environment="KEY", content="s3cret")},
    configs={"app": Config(name="demo_app", content="x=y")},
)
DB = r"""
[Unit]
Description=db of demo

[Container]
Image=db:1
ContainerName=demo-db-1
Environment="A=say \"50%%\" $x"
Network=demo-default.network:alias=db,alias=store
Volume=demo-data.volume:/data
Volume="/srv/x y:/x:ro"
HealthCmd=test 100%% = x
HealthInterval=1.5s
HealthRetries=3
Notify=healthy

[Service]
Restart=always

[Install]
WantedBy=default.target
"""
INIT = r"""
[Unit]
Description=init of demo
Requires=demo-db.service
After=demo-db.service

[Container]
Image=init
ContainerName=demo-init-1
Exec=sh -c "echo $$HOME \"$$(x)\"; exit"
Network=demo-default.network:alias=init

[Service]
Type=oneshot
RemainAfterExit=yes

[Install]
WantedBy=default.target
"""


@pytest.mark.parametrize(("name", "text"), [("demo-db.container", DB), ("demo-init.container", INIT)])
def test_a_unit(name: str, text: str) -> None:
    assert quadlet(PROJECT).files[name] == text.lstrip()


def test_units_and_what_cannot_be_said() -> None:
    found = quadlet(PROJECT)
    assert found.files.keys() == {
        "demo-db.container",
        "demo-init.container",
        "demo-web@.container",
        "demo-default.network",
        "demo-data.volume",
    }
    assert "PublishPort=127.0.0.1:8080:80\nPublishPort=53/udp\n" in found.files["demo-web@.container"]
    assert found.files["demo-default.network"] == "[Network]\nNetworkName=demo_default\nInternal=true\n"
    assert found.warnings == [
        "service db: /run/secrets/key is left out: make it with 'podman secret create demo_key -' "
        "and add Secret=demo_key,target=/run/secrets/key",
        "service web: start its 2 instances, demo-web@1 to @2",
    ]


def test_manifests() -> None:
    found = kubernetes(PROJECT)
    documents = list(YAML(typ="safe", pure=True).load_all(found.files["demo.yaml"]))
    kinds = {(each["kind"], each["metadata"]["name"]): each for each in documents}
    assert kinds.keys() == {
        ("PersistentVolumeClaim", "data"),
        ("Secret", "key"),
        ("ConfigMap", "app"),
        ("Deployment", "db"),
        ("Job", "init"),
        ("Deployment", "web"),
        ("Service", "web"),
    }
    assert kinds["Secret", "key"]["data"] == {"key": "czNjcmV0"}
    db = kinds["Deployment", "db"]["spec"]["template"]["spec"]
    assert db["containers"][0]["env"] == [{"name": "A", "value": 'say "50%" $x'}]
    assert db["containers"][0]["readinessProbe"] == {
        "exec": {"command": ["/bin/sh", "-c", "test 100% = x"]},
        "periodSeconds": 2,
        "failureThreshold": 3,
    }
    assert db["containers"][0]["volumeMounts"] == [
        {"name": "data", "mountPath": "/data"},
        {"name": "path-1", "mountPath": "/x", "readOnly": True},
        {"name": "secret-key", "mountPath": "/run/secrets/key", "subPath": "key", "readOnly": True},
    ]
    init = kinds["Job", "init"]["spec"]["template"]["spec"]
    assert init["restartPolicy"] == "OnFailure"
    assert init["containers"][0]["args"] == ["sh", "-c", 'echo $HOME "$$(x)"; exit']
    assert kinds["Deployment", "web"]["spec"]["replicas"] == 2
    assert kinds["Service", "web"]["spec"]["ports"] == [
        {"name": "p8080-tcp", "port": 8080, "targetPort": 80, "protocol": "TCP"},
        {"name": "p53-udp", "port": 53, "targetPort": 53, "protocol": "UDP"},
    ]
    assert "\n".join(found.warnings) == dedent(
        """\
        volume data: asks for 1Gi: change it to what you need
        the manifests have the values of secrets in them: keep them as you keep those
        service db: /srv/x y is mounted from the node that it runs on
        service init: starts without waiting for db
        service web: starts without waiting for init"""
    )
