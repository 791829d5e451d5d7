"""A project of eight services by Debian's docker-compose: what is changed is made again, and no more."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import pytest

from e2e_parts.clients import Client, Done, execute
from e2e_parts.webs import fetched_or_none
from fault_parts.fragile import until

PROJECT = """
x-each: &each {image: corten/busybox, stop_signal: KILL}
services:
  db:
    <<: *each
    command: sh -c 'echo ready >/data/ready; exec sleep 1000'
    healthcheck: {test: [CMD, test, -e, /data/ready], interval: 100ms, timeout: 30s, retries: 100}
    volumes: ["data:/data"]
    secrets: [password]
    networks: {back: {aliases: [store]}}
  migrate:
    <<: *each
    command: sh -c 'nslookup store >/dev/null && cat /data/ready /run/secrets/password >/data/migrated'
    volumes: ["data:/data"]
    secrets: [password]
    networks: [back]
    depends_on: {db: {condition: service_healthy}}
  cache:
    <<: *each
    command: sleep 1000
    tmpfs: [/scratch]
    networks: [back]
    restart: on-failure:3
  api:
    <<: *each
    command: sh -c 'echo $$GREETING >/tmp/index.html; exec httpd -f -p 8080 -h /tmp'
    environment: {GREETING: hello}
    networks: {back: {}, front: {aliases: [api.local]}}
    depends_on: {migrate: {condition: service_completed_successfully}, cache: {condition: service_started}}
  web:
    <<: *each
    command: sh -c 'until wget -qO /tmp/index.html http://api.local:8080; do sleep 0.1; done; exec httpd -f -h /tmp'
    ports: ["127.0.0.1::80"]
    networks: [front]
    depends_on: [api]
  worker:
    <<: *each
    command: sleep 1000
    networks: [back]
    restart: always
  logger:
    <<: *each
    command: sh -c 'echo out; echo err >&2; exec sleep 1000'
    network_mode: none
    read_only: true
  tool:
    <<: *each
    profiles: [tools]
    command: sh -c 'echo tool; cat /data/migrated; exit 3'
    volumes: ["data:/data:ro"]
    networks: [back]
networks: {back: {internal: true}, front: {}}
volumes: {data: {}}
secrets: {password: {file: ./password}}
"""
FORMAT = '{{.Label "com.docker.compose.service"}}-{{.Label "com.docker.compose.container-number"}} %s'
UP = {f"{service}-1" for service in ("db", "cache", "api", "web", "worker", "logger")}


class Project:
    def __init__(self, docker: Client, place: Path) -> None:
        self.name, self.docker, self._place = f"p{secrets.token_hex(3)}", docker, place
        (place / "password").write_text("secret")

    def __call__(self, *arguments: str, code: int = 0) -> Done:
        done = execute(
            ["docker-compose", "-p", self.name, *arguments], env=self.docker.env, timeout=100, cwd=self._place
        )
        assert done.code == code, (arguments, done)
        return done

    def write(self, text: str) -> None:
        (self._place / "docker-compose.yml").write_text(text)

    def all(self, column: str) -> dict[str, str]:
        """A column of `docker ps -a`, by service and number."""
        listed = self.docker.out("ps", "-a", "--no-trunc", "-f", f"label=com.docker.compose.project={self.name}",
                                 "--format", FORMAT % f"{{{{.{column}}}}}")  # fmt: skip
        return dict(line.split(" ", 1) for line in listed.splitlines())

    def shows(self, text: str) -> None:
        """The page of the service web, which it has from the service api."""
        place = self.docker.out("port", f"{self.name}_web_1", "80")
        until(lambda: fetched_or_none(place) == text, f"{place} shows {text}", 60)


@pytest.fixture
def project(docker: Client, tmp_path: Path) -> Project:
    if shutil.which("docker-compose") is None:
        pytest.skip("no docker-compose (Debian package docker-compose)")
    made = Project(docker, tmp_path)
    made.write(PROJECT)
    return made


def test_a_project_of_eight_services(project: Project) -> None:
    project("up", "-d")
    assert project.all("State") == {**dict.fromkeys(UP, "running"), "migrate-1": "exited"}
    assert project.all("Status")["migrate-1"].startswith("Exited (0)") and "(healthy)" in project.all("Status")["db-1"]
    project.shows("hello")
    assert project("exec", "-T", "-u", "33", "db", "sh", "-c", "id -u; exit 5", code=5).out == "33\n"

    first = project.all("ID")
    project.write(PROJECT.replace("GREETING: hello", "GREETING: changed").replace("echo out", "echo other"))
    project("up", "-d")
    assert {name for name, id in project.all("ID").items() if id != first[name]} == {"api-1", "logger-1"}
    said = ["logger_1   | err", "logger_1   | other"]
    until(lambda: sorted(project("logs", "--no-color", "logger").out.splitlines()[1:]) == said, "it says other things")

    project("up", "-d", "-t", "0", "--scale", "worker=3")
    assert project.all("State").keys() - UP == {"migrate-1", "worker-2", "worker-3"}
    project("up", "-d", "-t", "0", "--scale", "worker=1")
    assert project.all("State").keys() - UP == {"migrate-1"}

    assert project("run", "--rm", "tool", code=3).out.replace("\r", "") == "tool\nready\nsecret"
    before = project.all("ID")
    project("pause", "worker")
    assert project.all("State")["worker-1"] == "paused"
    project("unpause", "worker")
    project("restart", "-t", "0", "web")
    assert project.all("ID") == before and project.all("State") == {
        **dict.fromkeys(UP, "running"),
        "migrate-1": "exited",
    }
    project.shows("changed")

    project("down", "-v", "-t", "0")
    assert project.all("ID") == {}
    for noun in ("network", "volume"):
        assert project.name not in project.docker.out(noun, "ls")
