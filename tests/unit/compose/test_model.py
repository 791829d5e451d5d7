"""What a loaded project is, beside what `config` prints: values with types, positions, remedies, warnings."""

from __future__ import annotations

import pytest

from compose_parts.world import World
from corten.compose.errors import ComposeError
from corten.compose.loader import check_possible, without_effect
from corten.compose.model import Bytes, Duration, FileMode, Position
from corten.compose.observed import Observed
from corten.compose.plan.asked import Asked
from corten.compose.plan.up import up
from corten.compose.requests.container import Made, container
from corten.compose.requests.mounts import placed
from corten.units.durations import SECOND


def test_values_have_types(world: World) -> None:
    service = world.service(
        "{image: x, mem_limit: 1g, stop_grace_period: 90s, secrets: [{source: s, mode: 0440}], command: sh -c 'a b',"
        " cpus: '0.5', extra_hosts: ['h:1.2.3.4'], scale: 3, ports: ['80-81:80-81'], environment: [A=1, B]}\n"
        "secrets: {s: {environment: TOKEN}}",
        environ={"TOKEN": "sesame"},
    )
    assert service.mem_limit == 1 << 30 and type(service.mem_limit) is Bytes
    assert service.stop_grace_period == 90 * SECOND and type(service.stop_grace_period) is Duration
    assert service.secrets[0].mode == 0o440 and type(service.secrets[0].mode) is FileMode
    assert (service.command, service.entrypoint) == (("sh", "-c", "a b"), None)
    assert (service.cpus, service.replicas, service.extra_hosts) == (0.5, 3, {"h": ("1.2.3.4",)})
    assert [(port.published, port.target) for port in service.ports] == [("80", 80), ("81", 81)]
    assert service.environment == {"A": "1", "B": None}


def test_what_is_derived(world: World) -> None:
    project = world.load(
        """
        name: shop
        services:
          web: {build: ., depends_on: [db], networks: {a: {priority: 1}, b: {priority: 5}, c: }}
          db: {image: postgres, networks: [a], deploy: {replicas: 2}}
        networks: {a: , b: , c: }
        """
    )
    web, db = project.services["web"], project.services["db"]
    assert (project.image_of(web), project.image_of(db)) == ("shop-web", "postgres")
    assert web.networks_by_priority == ("b", "a", "c")
    assert (web.replicas, db.replicas) == (1, 2)
    assert project.dependents("db") == ("web",)


def test_a_secret_of_the_environment_has_its_value(world: World) -> None:
    project = world.load(
        "services: {a: {image: x, secrets: [s, f], configs: [c]}}\n"
        "secrets: {s: {environment: TOKEN}, f: {file: ./s}}\nconfigs: {c: {environment: TOKEN}}",
        environ={"TOKEN": "sesame"},
    )
    assert project.secrets["s"].content == "sesame"
    assert project.secrets["f"].file == str(world.directory / "s")
    assert project.configs["c"].content == "sesame"


def test_positions(world: World) -> None:
    project = world.load("services:\n  web:\n    image: x\n    ports:\n      - 80:80\nnetworks:\n  front: {}\n")
    path = str(world.directory / "compose.yaml")
    assert project.position("services.web") == Position(path, 2, 3)
    assert project.position("services.web.ports.0") == Position(path, 5, 9)
    assert project.position("services.web.image.what.ever") == Position(path, 3, 5)
    assert project.position("networks.front") == Position(path, 7, 3)
    assert project.position("nothing") is None


def test_the_last_files_position_counts(world: World) -> None:
    world.write("services: {a: {image: x}}", "a.yaml")
    world.write("# more\nservices: {a: {tty: true}}", "b.yaml")
    project = world.load(files=("a.yaml", "b.yaml"))
    assert str(project.position("services.a")) == f"{world.directory}/b.yaml:2"
    assert str(project.position("services.a.image")) == f"{world.directory}/a.yaml:1"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("services:\n  a:\n    imagee: x\n", 3,
         "services.a additional properties 'imagee' not allowed: did you mean image?"),
        ("services:\n  a:\n    image: 5\n", 3, "services.a.image must be a string: write it in quotes"),
        ("services:\n  a:\n    image: x\n    ports: '80'\n", 4,
         "services.a.ports must be a array: write it as a list: [...]"),
        ("services:\n  a: {image: x}\n  b:\n    image: x\n    depends_on:\n      - c\n", 5,
         'service "b" depends on undefined service "c": invalid compose project'),
        ("services:\n  a:\n    image: x\n    depends_on: [b]\n  b:\n    image: x\n    profiles: [p]\n", 4,
         'service "a" depends on undefined service "b": invalid compose project: it has the profile p: switch it on'
         " with --profile"),
        ("services:\n  a:\n    image: x\n    networks:\n      - n\n", 4,
         'service "a" refers to undefined network n: invalid compose project: add n to networks'),
        ("services:\n  a:\n    image: x:${TAG:?set TAG}\n", 3,
         "error while interpolating services.a.image: required variable TAG is missing a value: set TAG"),
        ("services:\n  a:\n    image: x\n    mem_limit: lots\n", 4,
         "invalid size: 'lots': write 512m, 1gb or a number of bytes"),
        ("services:\n  a: {image: x}\n  a: {image: y}\n", 3,
         'line 3: mapping key "a" already defined at line 2'),
        ("services:\n  a: {image: x\n", 3,
         "yaml: while parsing a flow mapping expected ',' or '}', but got '<stream end>'"),
    ],
)  # fmt: skip
def test_file_line_and_remedy(world: World, text: str, line: int, message: str) -> None:
    with pytest.raises(ComposeError) as caught:
        world.load(text)
    assert str(caught.value) == f"{world.directory}/compose.yaml:{line}: {message}"


def test_a_fault_of_another_file_is_said_there(world: World) -> None:
    world.write("services:\n  base:\n    image: x\n    command: ${X:?no X}\n", "base.yaml")
    with pytest.raises(ComposeError) as caught:
        world.load("services: {a: {extends: {file: base.yaml, service: base}}}")
    assert str(caught.value.position) == f"{world.directory}/base.yaml:4"


def test_warnings_have_places_and_come_once(world: World) -> None:
    project = world.load("services:\n  a: {image: x$NOPE}\n  b:\n    image: y$NOPE\n")
    said = 'The "NOPE" variable is not set. Defaulting to a blank string.'
    assert project.warnings == (f"{world.directory}/compose.yaml:2: {said}",)


def test_an_error_comes_with_what_was_warned_of(world: World) -> None:
    with pytest.raises(ComposeError) as caught:
        world.load("services: {a: {image: x$NOPE, mem_limit: lots}}")
    assert "NOPE" in caught.value.warnings[0]


def test_what_docker_compose_has_since(world: World) -> None:
    """Keys that are newer than the recorded version."""
    project = world.load(
        """
        services:
          a:
            image: x
            pre_start: [{command: ./migrate, image: tools, per_replica: true}]
        networks: {default: {ipam: {config: [{subnet: 10.0.0.0/8, x-pool: 1}], options: {a: b}}}}
        """
    )
    hook = project.services["a"].pre_start[0]
    assert (hook.command, hook.image, hook.per_replica) == (("./migrate",), "tools", True)
    assert project.networks["default"].ipam.options == {"a": "b"}
    assert project.networks["default"].ipam.config[0].extensions == {"x-pool": 1}


def test_a_reset_is_found_behind_an_anchor(world: World) -> None:
    world.write("services: {a: {image: x, ports: ['80:80']}}", "a.yaml")
    world.write("x-no: &no\n  ports: !reset []\nservices:\n  a:\n    <<: *no\n    tty: true\n", "b.yaml")
    assert world.load(files=("a.yaml", "b.yaml")).services["a"].ports == ()


def test_a_name_alone_at_the_end_of_a_file(world: World) -> None:
    world.write("A=1\nGIVEN", "e.env")
    service = world.service("{image: x, env_file: e.env}", environ={"GIVEN": "outside"})
    assert service.environment == {"A": "1", "GIVEN": "outside"}


def test_without_effect_is_said_once_with_its_place(world: World) -> None:
    project = world.load(
        "services:\n  a:\n    image: x\n    deploy:\n      mode: global\n      placement: {constraints: [a]}\n"
        "    secrets: [{source: s, mode: 0400}]\nsecrets: {s: {file: ./s}}\n"
    )
    path = world.directory / "compose.yaml"
    assert without_effect(project) == (
        f"{path}:5: services.a.deploy.mode global has no effect without a cluster: the service has 1 container",
        f"{path}:6: services.a.deploy.placement has no effect without a cluster",
        f"{path}:7: services.a.secrets.0 uid, gid and mode have no effect on a file: it is mounted as it is",
    )


def test_nothing_without_effect(world: World) -> None:
    assert without_effect(world.load("services: {a: {image: x, deploy: {replicas: 2, mode: replicated}}}")) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("secrets: [s]}\nsecrets: {s: {external: true}}",
         "unsupported external secret s: store it (corten secret create s), or give it file or environment"),
        ("secrets: [s]}\nsecrets: {s: {driver: d}}",
         "unsupported secret driver d of s: give it file or environment"),
        ("configs: [c]}\nconfigs: {c: {external: true}}",
         "unsupported external config c: give it file, content or environment"),
        ("volumes: [{type: npipe, source: a, target: /a}]}",
         "unsupported volume type npipe: use bind, volume, tmpfs or image"),
    ],
)  # fmt: skip
def test_what_one_machine_cannot_do(world: World, text: str, message: str) -> None:
    project = world.load(f"services:\n  a: {{image: x, {text}", consistency=False)
    with pytest.raises(ComposeError) as caught:
        check_possible(project)
    assert str(caught.value) == f"{world.directory}/compose.yaml:2: {message}"


def test_a_secret_that_the_engine_keeps(world: World) -> None:
    project = world.load("services: {a: {image: x, secrets: [s]}}\nsecrets: {s: {external: true, name: kept}}")
    check_possible(project, stored=lambda name: name == "kept")
    with pytest.raises(ComposeError):
        check_possible(project)


def test_a_plan_says_and_refuses_it(world: World) -> None:
    project = world.load("services: {a: {image: x, deploy: {mode: global}}}")
    assert up(project, Observed(), Asked()).warnings == without_effect(project) != ()
    refused = world.load("services: {a: {image: x, secrets: [s]}}\nsecrets: {s: {external: true}}")
    with pytest.raises(ComposeError, match="unsupported external secret s"):
        up(refused, Observed(), Asked())


def test_a_stored_secret_is_a_file_of_run_secrets(world: World) -> None:
    text = "services: {a: {image: x, secrets: [{source: s, target: /etc/s}]}}\nsecrets: {s: {external: true}}"
    with pytest.raises(ComposeError) as caught:
        check_possible(world.load(text), stored=lambda name: True)
    assert caught.value.message == "the target of the stored secret s is /etc/s"


def test_what_the_engine_is_asked_for_a_stored_secret(world: World) -> None:
    project = world.load(
        "services: {a: {image: x, secrets: [s, {source: t, target: other, uid: '5', mode: 0400}, f]}}\n"
        "secrets: {s: {external: true, name: kept}, t: {external: true}, f: {environment: HOME}}"
    )
    service = project.services["a"]
    request = container(project, service, Made("case-a-1", 1, "hash", "sha256:id"), (1, 44)).given_json()
    assert request["HostConfig"]["StoredSecrets"] == [
        {"Secret": "kept", "Target": "s"},
        {"Secret": "t", "Target": "other", "UID": "5", "Mode": 0o400},
    ]
    assert [each.path for each in placed(project, service)] == ["/run/secrets/f"]
