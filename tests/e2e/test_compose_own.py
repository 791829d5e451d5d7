"""`corten compose` on projects that are brought up, changed and taken down; recorded hashes are Docker Compose's."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.between import Between
from e2e_parts.clients import Client, Done, execute
from e2e_parts.cortend import Cortend
from fault_parts.fragile import until
from free_ports import free_port

SHARED = "x-each: &each {image: corten/busybox, stop_signal: KILL}\n"
PROJECT = (
    SHARED
    + """
services:
  db:
    <<: *each
    command: sh -c 'echo ready >/data/ready; exec sleep 1000'
    healthcheck: {test: [CMD, test, -e, /data/ready], interval: 100ms, timeout: 30s, retries: 100}
    volumes: ["data:/data"]
    networks: {back: {aliases: [store]}}
  migrate:
    <<: *each
    command: sh -c 'cat /data/ready /run/secrets/password /etc/app.conf >/data/migrated'
    volumes: ["data:/data"]
    secrets: [password]
    configs: [{source: app, target: /etc/app.conf}]
    networks: [back]
    depends_on: {db: {condition: service_healthy}}
  web:
    <<: *each
    command: sh -c 'cat /data/migrated; exec sleep 1000'
    restart: unless-stopped
    environment: {GREETING: hello}
    volumes: ["data:/data:ro"]
    depends_on: {migrate: {condition: service_completed_successfully}}
    networks: [back, default]
  tool:
    <<: *each
    profiles: [tools]
    command: sh -c 'echo tool $$GREETING; cat /data/ready; exit 3'
    volumes: ["data:/data:ro"]
    networks: [back]
    depends_on: [db]
networks: {back: {internal: true}}
volumes: {data: {}}
secrets: {password: {environment: PASSWORD}}
configs: {app: {content: "of $PASSWORD\\n"}}
"""
)
LABEL = "com.docker.compose."


class Compose:
    """Calls run in the project's directory, and are ended when they take too long."""

    def __init__(self, corten: Client, place: Path) -> None:
        self.name, self.corten, self.place = f"p{secrets.token_hex(3)}", corten, place
        self.env = {**corten.env, "PASSWORD": "secret"}

    @property
    def command(self) -> list[str]:
        return [*self.corten.command, "compose", "-p", self.name]

    def __call__(self, *arguments: str, code: int = 0, input: str | None = None) -> Done:
        done = execute([*self.command, *arguments], input, 60, self.env, self.place)
        assert done.code == code, (arguments, done)
        return done

    def write(self, text: str) -> None:
        (self.place / "compose.yaml").write_text(text)

    def rows(self) -> dict[str, dict[str, Any]]:
        found = [json.loads(line) for line in self("ps", "-a", "--format", "json").out.splitlines()]
        return {row["Name"].removeprefix(f"{self.name}-"): row for row in found}

    def states(self) -> dict[str, str]:
        return {name: row["State"] for name, row in self.rows().items()}

    def ids(self) -> dict[str, str]:
        return {name: row["ID"] for name, row in self.rows().items()}

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.command, *arguments],
            env=self.env,
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@pytest.fixture
def compose(corten: Client, tmp_path: Path) -> Compose:
    return Compose(corten, tmp_path)


def test_a_project_from_up_to_down(compose: Compose) -> None:
    compose.write(PROJECT)
    done = compose("up", "-d")
    assert f" Container {compose.name}-db-1  Healthy\n" in done.err and "WARNING" not in done.err
    shown = json.loads(compose.corten.out("inspect", "-f", "{{json .HostConfig.StartAfter}}", f"{compose.name}-web-1"))
    assert shown == [{"Container": f"{compose.name}-migrate-1", "Condition": "completed"}]
    assert compose.states() == {"db-1": "running", "migrate-1": "exited", "web-1": "running"}
    until(lambda: compose("logs", "web").out == "web-1  | ready\nweb-1  | secretof secret\n", "what it shows", 60)

    first = compose.ids()
    compose("up", "-d")
    assert compose.ids() == first
    assert "leave container" in compose("up", "-d", "--explain", "--dry-run").out and compose.ids() == first

    compose.write(PROJECT.replace("GREETING: hello", "GREETING: changed"))
    plan = compose("up", "-d", "--explain", "--dry-run").out
    assert f"create container {first['web-1']}_{compose.name}-web-1: its configuration has changed" in plan.replace(
        " after 1", ""
    )
    compose("up", "-d")
    assert {name for name, id in compose.ids().items() if id != first[name]} == {"web-1"}

    compose("up", "-d", "--no-deps", "--scale", "web=3", "web")
    assert compose.states().keys() == {"db-1", "migrate-1", "web-1", "web-2", "web-3"}
    compose.corten("rm", "-f", f"{compose.name}-web-2")
    compose("scale", "--no-deps", "web=3")
    assert compose.states().keys() == {"db-1", "migrate-1", "web-1", "web-2", "web-3"}
    compose("scale", "--no-deps", "web=1")

    ran = compose("run", "--rm", "-T", "-e", "GREETING=once", "tool", code=3)
    assert ran.out == "tool once\nready\n"
    assert compose("exec", "-T", "-u", "33", "db", "sh", "-c", "id -u; cat; exit 5", code=5, input="in").out == "33\nin"
    compose("stop", "-t", "0")
    assert set(compose.states().values()) == {"exited"}
    compose("start")
    assert compose.states()["web-1"] == "running"
    assert compose.name in compose("ls", "-q").out.split()
    compose("down", "-v", "-t", "0")
    assert compose.rows() == {}
    for noun in ("network", "volume"):
        assert compose.name not in compose.corten("volume" if noun == "volume" else "network", "ls").out
    assert "No resource found to remove" in compose("down").err


def test_what_docker_compose_would_have_written(compose: Compose) -> None:
    """Its own hash of this service, and its labels: it leaves what we have made as it is, and we what it has."""
    compose.name = "demo"
    compose.write("services:\n  a: {image: corten/busybox, command: 'true', labels: {x: <&>}, network_mode: none}\n")
    compose("create")
    (found,) = json.loads(compose.corten("inspect", "demo-a-1").out)
    labels = found["Config"]["Labels"]
    image = found["Image"]
    assert labels == {
        "x": "<&>",
        LABEL + "config-hash": "be449009434dee3cbfdf6ca60da55c926f81cefba7aa6a5c1a08677ce56d531b",
        LABEL + "container-number": "1",
        LABEL + "depends_on": "",
        LABEL + "image": image,
        LABEL + "oneoff": "False",
        LABEL + "project": "demo",
        LABEL + "project.config_files": str(compose.place / "compose.yaml"),
        LABEL + "project.working_dir": str(compose.place),
        LABEL + "service": "a",
        LABEL + "version": "2.40.3",
    }


FAILURES = {
    "unhealthy": (
        "healthcheck: {test: 'false', interval: 50ms, retries: 1}",
        "service_healthy",
        "dependency failed to start: container {name}-a-1 is unhealthy",
    ),
    "no check": (
        "",
        "service_healthy",
        "dependency failed to start: container {name}-a-1 has no healthcheck configured",
    ),
    "failed": (
        "entrypoint: [sh, -c, exit 3]",
        "service_completed_successfully",
        'service "a" didn\'t complete successfully: exit 3',
    ),
}


@pytest.mark.parametrize(("more", "condition", "why"), FAILURES.values(), ids=FAILURES)
def test_a_condition_that_is_not_met(compose: Compose, more: str, condition: str, why: str) -> None:
    compose.write(
        f"{SHARED}services:\n  a:\n    <<: *each\n    command: sleep 1000\n    {more}\n"
        f"  b: {{<<: *each, command: sleep 1000, depends_on: {{a: {{condition: {condition}}}}}}}\n"
    )
    assert compose("up", "-d", code=1).err.splitlines()[-1] == why.format(name=compose.name)
    assert compose.states()["b-1"] == "created"
    compose("down", "-t", "0")


def test_in_the_foreground(compose: Compose) -> None:
    compose.write(
        SHARED
        + "services:\n"
        + "  a: {<<: *each, command: sh -c 'echo one; echo two >&2; touch /up/a; sleep 1000', volumes: ['up:/up']}\n"
        + "  b: {<<: *each, command: sh -c 'until test -e /up/a; do sleep 0.02; done; echo b; exit 4',\n"
        + "      volumes: ['up:/up'], depends_on: [a]}\n"
        + "volumes: {up: {}}\n"
    )
    done = compose("up", "--exit-code-from", "b", code=4)
    assert sorted(done.out.splitlines()) == ["a-1  | one", "b-1  | b", "b-1 exited with code 4"] or (
        # What the stop of `a` says depends on when the client leaves.
        {"a-1  | one", "b-1  | b", "b-1 exited with code 4"} <= set(done.out.splitlines())
    )
    assert "a-1  | two" in done.err and set(compose.states().values()) == {"exited"}
    compose("down", "-v", "-t", "0")


def test_restarts_in_the_foreground(compose: Compose) -> None:
    """Each run's output is shown once."""
    compose.write(SHARED + "services:\n  a: {<<: *each, command: sh -c 'echo run; exit 1', restart: on-failure:2}\n")
    assert compose("up").out == "a-1  | run\na-1 exited with code 1\n" * 3
    compose("down")


def test_ctrl_c_stops_all(compose: Compose) -> None:
    compose.write(SHARED + "services:\n  a: {<<: *each, command: sh -c 'echo up; sleep 1000'}\n")
    process = compose.begin("up")
    assert process.stdout is not None
    assert process.stdout.readline() == b"a-1  | up\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"Gracefully Stopping" in err and compose.states() == {"a-1": "exited"}
    compose("down")


def test_two_at_once(compose: Compose) -> None:
    compose.write(SHARED + "services:\n  a: {<<: *each, command: sleep 1000}\n  b: {<<: *each, command: sleep 1000}\n")
    both = [compose.begin("up", "-d") for _ in range(2)]
    ends = [(*process.communicate(timeout=60), process.returncode) for process in both]
    assert [code for _, _, code in ends] == [0, 0], ends
    assert compose.states() == {"a-1": "running", "b-1": "running"}
    compose("down", "-t", "0")


def test_a_rollout_goes_back(compose: Compose) -> None:
    text = SHARED + (
        "services:\n  a:\n    <<: *each\n    command: sleep 1000\n    scale: 2\n"
        "    healthcheck: {test: [CMD, test, -e, PATH], interval: 50ms, retries: 1}\n"
    )
    compose.write(text.replace("PATH", "/bin"))
    compose("up", "-d", "--wait")
    first = compose.ids()
    compose.write(text.replace("PATH", "/nowhere"))
    refused = compose("up", "-d", "--rollout", code=1).err.splitlines()[-1]
    assert refused.startswith(f"container {compose.name}-a-1 is unhealthy: {compose.name}-a-1 is kept")
    assert compose.ids() == first and set(compose.states().values()) == {"running"}
    compose.write(text.replace("PATH", "/etc"))
    compose("up", "-d", "--rollout")
    assert compose.ids().keys() == first.keys() and not set(compose.ids().values()) & set(first.values())
    compose("down", "-t", "0")


def test_an_image_that_is_built(compose: Compose, no_images_left: None) -> None:
    (compose.place / "Dockerfile").write_text("FROM corten/busybox\nCOPY text /text\nCMD cat /text\n")
    (compose.place / "text").write_text("first\n")
    compose.write("services:\n  a: {build: .}\n")
    try:
        compose("up", "-d")
        until(lambda: compose.states() == {"a-1": "exited"}, "a has ended", 60)
        first = compose.ids()
        (compose.place / "text").write_text("second\n")
        compose("up", "-d")
        assert compose.ids() == first
        compose("up", "-d", "--build")
        assert compose.ids() != first
        until(lambda: compose("logs", "--no-log-prefix").out == "second\n", "the new image's text is shown", 60)
    finally:
        compose("down", "-t", "0", "--rmi", "local")
        compose.corten("image", "prune", "-f")
        compose.corten("builder", "prune", "-af")
    assert f"{compose.name}-a" not in compose.corten("images").out


def test_without_an_engine(compose: Compose) -> None:
    compose.write("services:\n  a: {image: x}\n")
    compose.env["DOCKER_HOST"] = f"unix://{compose.place}/nothing"
    done = compose("up", "-d", code=1)
    assert len(done.err.splitlines()) == 1 and os.fspath(compose.place) in done.err


PHASES = {
    "looking": b"GET /",
    "a container": b"/containers/create",
    "waiting": b"/events?",
}
TWO = (
    SHARED
    + """services:
  a:
    <<: *each
    command: sh -c 'sleep 0.3; touch /ready; exec sleep 1000'
    healthcheck: {test: [CMD, test, -e, /ready], interval: 100ms, retries: 1000}
  b: {<<: *each, command: sleep 1000, depends_on: {a: {condition: service_healthy}}}
"""
)


@pytest.mark.parametrize("phase", PHASES)
def test_the_daemon_is_gone_or_ctrl_c_comes(compose: Compose, daemon: Cortend, phase: str) -> None:
    """One line says so; the next `up` goes on from what there is, and `down` finds all of it."""
    compose.write(TWO)
    begun: list[subprocess.Popen[bytes]] = []
    ready = threading.Event()

    def interrupt(between: Between) -> None:
        assert ready.wait(60)
        begun[-1].send_signal(signal.SIGINT)

    for act, code in ((Between.vanish, 1), (interrupt, 130)):
        ready.clear()
        place = compose.place / f"s{code}"
        between = Between(place, daemon.socket, PHASES[phase], act)
        compose.env["DOCKER_HOST"] = between.address
        begun.append(compose.begin("up", "-d"))
        ready.set()
        _, err = begun[-1].communicate(timeout=100)
        assert between.met.is_set() and begun[-1].returncode in (code, -signal.SIGINT), err
        last = err.decode().splitlines()[-1:]
        said = (str(place), "goes on from there", "closed the connection without an answer")
        assert code == 130 or any(text in last[0] for text in said), err
        between.vanish()
        compose.env["DOCKER_HOST"] = daemon.address
        if code == 1:
            compose("up", "-d")
            assert compose.states() == {"a-1": "running", "b-1": "running"}
        compose("down", "-t", "0")
        assert compose.rows() == {} and compose.name not in compose.corten.out("network", "ls")


def test_names_and_ports_that_are_taken(compose: Compose) -> None:
    """By what is no project's: it is named, and left as it is."""
    compose.write(SHARED + "services:\n  a: {<<: *each, command: sleep 1000, ports: ['127.0.0.1::80']}\n")
    name = f"{compose.name}-a-1"
    taken = f"127.0.0.1:{free_port()}"  # no other daemon's when it is free again
    compose.corten("run", "-d", "--name", name, "-p", f"{taken}:80", "corten/busybox", "sleep", "1000")
    error = compose("up", "-d", code=1).err.splitlines()[-1]
    assert name in error and "in use" in error
    compose.corten("rename", name, f"{name}-other")
    compose.write((compose.place / "compose.yaml").read_text().replace("127.0.0.1::80", f"{taken}:80"))
    error = compose("up", "-d", code=1).err.splitlines()[-1]
    assert "port is already allocated" in error and taken in error
    assert compose.states() == {"a-1": "created"}
    compose.corten("rm", "-f", f"{name}-other")
    compose("up", "-d")
    assert compose.states() == {"a-1": "running"}
    compose("down", "-t", "0")


HOOKED = (
    SHARED
    + """
services:
  a:
    <<: *each
    command: sleep 1000
    volumes: ["kept:/kept"]
    post_start:
      - {command: [sh, -c, 'echo "$$WHO of $$PWD" >/kept/post'], user: root, working_dir: /bin, environment: [WHO=me]}
      - {command: [sh, -c, 'id -u >>/kept/post'], user: "33"}
    pre_stop:
      - {command: [sh, -c, 'echo stopped >>/kept/post']}
  reader:
    <<: *each
    command: cat /kept/post
    volumes: ["kept:/kept"]
    depends_on: [a]
    profiles: [late]
volumes: {kept: {}}
"""
)


def test_hooks_of_a_life(compose: Compose) -> None:
    compose.write(HOOKED.replace('"33"', "root"))
    compose("up", "-d")
    compose("exec", "-T", "a", "grep", "-c", ".", "/kept/post")
    compose("stop", "-t", "0", "a")
    assert compose("run", "--rm", "-T", "--no-deps", "reader").out == "me of /bin\n0\nstopped\n"
    compose.write(HOOKED.replace("sh, -c, 'id -u >>/kept/post'", "sh, -c, 'echo no; exit 4'"))
    done = compose("up", "-d", code=1)
    assert done.err.splitlines()[-1] == f"{compose.name}-a-1 hook exited with status 4: no"
    compose("down", "-v", "-t", "0")


PREPARED = (
    SHARED
    + """
services:
  app:
    <<: *each
    command: sh -c 'cat /data/*; exec sleep 1000'
    user: "33"
    environment: {WHO: app}
    volumes: ["data:/data"]
    ports: ["80"]
    secrets: [password]
    pre_start:
      - {command: [sh, -c, 'chown 33 /data; echo "$$WHO $$(id -u)" >/data/a'], user: root, environment: [WHO=hook]}
      - {command: [sh, -c, 'echo $$(cat /run/secrets/password) >/data/b; ACT'], image: corten/busybox}
volumes: {data: {}}
secrets: {password: {environment: PASSWORD}}
"""
)


def test_hooks_before_a_start(compose: Compose) -> None:
    """In containers of their own, with the service's volumes; what fails or hangs is done again by the next up."""
    hook = f"{compose.name}-app-pre_start-1"
    compose.write(PREPARED.replace("ACT", "echo no; exit 4"))
    why = compose("up", "-d", code=1).err.splitlines()[-1]
    assert why.startswith(f"service app: pre_start 2 exited with status 4: no; its container {hook} is kept")
    assert compose.states() == {"app-1": "created", "app-pre_start-1": "exited"}
    assert compose.corten.out("logs", hook) == "no"
    assert "is started by up" in compose("start", code=1).err
    compose.write(PREPARED.replace("ACT", "sleep 1000"))
    process = compose.begin("up", "-d")
    until(lambda: hook in compose.corten.out("ps", "--format", "{{.Names}}").split(), "it sleeps", 60)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130 and hook not in compose.corten.out("ps", "-a", "--format", "{{.Names}}").split()
    compose.write(PREPARED.replace("ACT", "true"))
    compose("up", "-d")
    until(lambda: compose("logs", "--no-log-prefix").out.split() == ["hook", "0", "secret"], "it was prepared", 60)
    assert "Prepar" not in compose("up", "-d").err
    compose("down", "-v", "-t", "0")


WATCHED = (
    SHARED
    + """
services:
  built:
    build: .
    stop_signal: KILL
    develop: {watch: [{path: text, action: rebuild}]}
  ran:
    <<: *each
    command: sleep 1000
    develop: {watch: [{path: src, target: /app, action: sync+exec, exec: {command: [cp, /app/one, /ran]}}]}
  again:
    <<: *each
    command: sh -c 'echo begun; exec sleep 1000'
    develop: {watch: [{path: restarting, action: restart}]}
  both:
    <<: *each
    command: sh -c 'cat /app/one; exec sleep 1000'
    develop: {watch: [{path: src, target: /app, action: sync+restart}]}
"""
)


def test_what_is_passed_on_to_containers(compose: Compose, no_images_left: None) -> None:
    """cp, commit, stats, events, export, attach: as Docker Compose prints them."""
    compose.write(SHARED + "services:\n  a: {<<: *each, command: sh -c 'read word; echo $$word', stdin_open: true}\n")
    name = f"{compose.name}-a-1"
    compose("up", "-d")
    (compose.place / "file").write_text("content\n")
    assert compose("cp", "file", "a:/tmp/").out == ""
    compose("cp", "a:/tmp/file", "back")
    assert (compose.place / "back").read_text() == "content\n"
    assert (
        compose("cp", "a:/none", ".", code=1)
        .err.rstrip()
        .endswith(f"Could not find the file /none in container {name}")
    )
    assert compose("cp", "a:/x", "a:/y", code=1).err == "copying between services is not supported\n"
    for words in (("exec", "zz", "true"), ("port", "zz", "80"), ("attach", "zz"), ("export", "zz"), ("commit", "zz")):
        assert compose(*words, code=1).err == 'service "zz" is not running: services are a\n'
    assert compose("exec", "--index", "2", "a", "true", code=1).err == 'service "a" is not running container #2\n'
    assert compose("cp", "zz:/x", ".", code=1).err == 'no container found for service "zz": services are a\n'

    done = compose("commit", "-m", "said", "a", f"{compose.name}:kept")
    (image,) = json.loads(compose.corten.out("image", "inspect", f"{compose.name}:kept"))
    assert (
        done.out == "" and done.err == f" Container {name}  Committing\n Container {name}  Committed as {image['Id']}\n"
    )
    (stats,) = map(json.loads, compose("stats", "--no-stream", "--format", "json", "a").out.splitlines())
    (id,) = compose.ids().values()
    assert stats["Name"] == name and stats["Container"].startswith(id)
    compose("export", "-o", "all.tar", "a")
    with tarfile.open(compose.place / "all.tar") as tar:
        assert tar.getmember("tmp/file").size == 8

    assert compose("attach", "a", input="said\n").out == "said\n"
    until(lambda: compose.states() == {"a-1": "exited"}, "it has ended", 60)
    now = f"{time.time() + 1:.3f}"
    events = compose("events", "--json", "--since", "1", "--until", now).out.splitlines()
    assert [json.loads(line)["action"] for line in events if '"die"' in line] == ["die"]
    assert list(json.loads(events[0])) == ["action", "attributes", "id", "service", "time", "type"]
    line = compose("events", "--since", "1", "--until", now).out.splitlines()[0]
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{{6}} container create {id}[0-9a-f]* \(.*name={name}.*\)", line
    )
    compose("down", "-t", "0")


def test_up_that_watches(compose: Compose, no_images_left: None) -> None:
    """Each action once, beside a file of the same directory that never stops changing."""
    compose.write(WATCHED)
    (compose.place / "Dockerfile").write_text(
        'FROM corten/busybox\nCOPY text /text\nCMD ["sh", "-c", "cat /text; exec sleep 1000"]\n'
    )
    for name in ("src", "restarting"):
        (compose.place / name).mkdir()
    for name in ("text", "src/one", "restarting/one"):
        (compose.place / name).write_text("first\n")
    noise = subprocess.Popen(["sh", "-c", "while echo more; do sleep 0.1; done >>noise"], cwd=compose.place)
    process = compose.begin("up", "--watch", "--quiet-build")
    try:
        assert process.stderr is not None and process.stdout is not None
        for line in iter(process.stderr.readline, b"Watch enabled\n"):
            assert line, "up has ended"
        for name in ("text", "src/one", "restarting/one"):
            (compose.place / name).write_text("second\n")
        wanted = {b"built-1  | second\n", b"both-1   | second\n", b"again-1 exited with code 137\n"}
        for line in iter(process.stdout.readline, b""):
            wanted.discard(line)
            if not wanted:
                break
        assert not wanted
        until(lambda: compose("exec", "-T", "ran", "sh", "-c", "cat /ran || :").out == "second\n", "it is copied", 60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
    finally:
        for each in (noise, process):
            each.kill()
            each.communicate()
        compose("down", "-t", "0", "--rmi", "local")
        compose.corten("image", "prune", "-f")
        compose.corten("builder", "prune", "-af")


def test_watching(compose: Compose) -> None:
    compose.write(
        SHARED
        + "services:\n  a:\n    <<: *each\n    command: sleep 1000\n"
        + "    develop: {watch: [{path: src, target: /app, action: sync, ignore: [no], initial_sync: true}]}\n"
    )
    (compose.place / "src").mkdir()
    (compose.place / "src" / "one").write_text("1")
    process = compose.begin("watch")
    try:
        assert process.stderr is not None
        for line in iter(process.stderr.readline, b"Watch enabled\n"):
            assert line, "watch has ended"

        def found() -> set[str]:
            look = "find /app -type f || :"  # which fails when a file goes meanwhile
            return set(compose("exec", "-T", "a", "sh", "-c", look).out.split())

        assert found() == {"/app/one"}
        (compose.place / "src" / "no").write_text("0")
        (compose.place / "src" / "deep").mkdir()
        (compose.place / "src" / "deep" / "two").write_text("2")
        (compose.place / "src" / "one").unlink()
        until(lambda: found() == {"/app/deep/two"}, "what changes is there", 60)
    finally:
        process.kill()
        process.communicate()
    compose("down", "-t", "0")
