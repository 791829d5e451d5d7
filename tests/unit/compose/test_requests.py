"""What a container is made of for the additions of our engine."""

from __future__ import annotations

import pytest

from compose_parts.world import World
from corten.compose.requests.container import Made, container

MADE = Made(name="demo-web-1", number=1, hash="h", image="sha256:1")
FILE = """
name: demo
services:
  web:
    image: x
    {restart}
    secrets: [{{source: key, target: word, uid: "7", mode: 0440}}]
    depends_on:
      db: {{condition: service_healthy}}
      once: {{condition: service_completed_successfully}}
      named: {{condition: service_started}}
  db: {{image: x, scale: 2}}
  once: {{image: x}}
  named: {{image: x, container_name: other}}
secrets: {{key: {{external: true, name: kept}}}}
"""


@pytest.mark.parametrize("restart", ["", "restart: on-failure"])
def test_what_the_engine_starts_with_no_daemon_has_no_order(world: World, restart: str) -> None:
    project = world.load(FILE.format(restart=restart))
    asked = container(project, project.services["web"], MADE, (1, 44)).given_json()
    assert "StartAfter" not in asked["HostConfig"]


@pytest.mark.parametrize("restart", ["always", "unless-stopped"])
def test_the_order_after_a_reboot(world: World, restart: str) -> None:
    project = world.load(FILE.format(restart=f"restart: {restart}"))
    asked = container(project, project.services["web"], MADE, (1, 44)).given_json()
    assert asked["HostConfig"]["StartAfter"] == [
        {"Container": "demo-db-1", "Condition": "healthy"},
        {"Container": "demo-db-2", "Condition": "healthy"},
        {"Container": "other", "Condition": "started"},
        {"Container": "demo-once-1", "Condition": "completed"},
    ]


def test_external_secrets_are_the_engine_s(world: World) -> None:
    project = world.load(FILE.format(restart=""))
    asked = container(project, project.services["web"], MADE, (1, 44)).given_json()
    assert asked["HostConfig"]["StoredSecrets"] == [{"Secret": "kept", "Target": "word", "UID": "7", "Mode": 0o440}]
