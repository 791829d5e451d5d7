"""Compose files that mean harm: what they can make the client do is bounded, and the error has file and line."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compose_parts.world import World
from corten.compose.errors import ComposeError

MEMORY = 1 << 30  # of the process, above what it has


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    directory = tmp_path / "case"
    directory.mkdir()
    return World(directory, monkeypatch)


@contextmanager
def little_memory() -> Iterator[None]:
    """Whatever would fill the machine's memory is a MemoryError instead."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refused(world: World, text: str, **options: Any) -> ComposeError:
    with little_memory(), pytest.raises(ComposeError) as caught:
        world.load(text, **options)
    return caught.value


def test_aliases_of_gigabytes(world: World) -> None:
    lines = ["x-0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    error = refused(world, "\n".join(lines) + "\nservices: {a: {image: x}}\n")
    assert "excessive aliasing" in str(error)
    assert error.position is not None and error.position.line == 1


def test_merges_of_gigabytes(world: World) -> None:
    lines = ["x-0: &a0 {" + ", ".join(f"k{n}: 1" for n in range(100)) + "}"]
    lines += [f"x-{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)]
    assert "excessive aliasing" in str(refused(world, "\n".join(lines) + "\nservices: {a: {image: x}}\n"))


def test_an_alias_of_itself(world: World) -> None:
    error = refused(world, "services: &s\n  a:\n    image: x\n    x-me: *s\n")
    assert str(error).endswith("compose.yaml:4: anchor 's' value contains itself")


@pytest.mark.parametrize(("opening", "closing"), [("{a: ", "}"), ("[", "]")])
def test_a_thousand_levels(world: World, opening: str, closing: str) -> None:
    error = refused(world, f"services: {{}}\nx-deep: {opening * 1000}{closing * 1000}\n")
    assert "exceeded max depth of 100" in str(error)
    assert error.position is not None and error.position.line == 2


def test_a_thousand_levels_by_indentation(world: World) -> None:
    deep = "\n".join(" " * n + "a:" for n in range(1000))
    assert "exceeded max depth" in str(refused(world, f"services: {{}}\nx-deep:\n{deep.replace('a:', ' a:')}\n"))


def test_levels_by_aliases(world: World) -> None:
    lines = ["x-0: &a0 {k: v}"] + [f"x-{n}: &a{n} {{k: *a{n - 1}}}" for n in range(1, 300)]
    assert "exceeded max depth" in str(refused(world, "\n".join(lines) + "\nservices: {a: {image: x}}\n"))


def test_forty_levels_are_no_crime(world: World) -> None:
    deep = "{a: " * 40 + "1" + "}" * 40
    assert world.load(f"services: {{a: {{image: x}}}}\nx-deep: {deep}\n").extensions["x-deep"]["a"]["a"]


def test_a_file_of_many_values(world: World) -> None:
    values = ",".join(["1"] * 110_000)
    assert "more than 100000 keys and values" in str(refused(world, f"services: {{}}\nx-many: [{values}]\n"))


def test_a_file_of_gigabytes(world: World) -> None:
    path = world.write("")
    os.truncate(path, 8 << 30)
    assert "larger than" in str(refused(world, ""))


def test_an_env_file_of_gigabytes(world: World) -> None:
    os.truncate(world.write("", "big.env"), 8 << 30)
    error = refused(world, "services:\n  a:\n    image: x\n    env_file: big.env\n")
    assert "big.env: larger than" in str(error)
    assert error.position is not None and error.position.line == 4
    assert "larger than" in str(refused(world, "services: {a: {image: x}}", env_files=("big.env",)))


def test_an_env_file_of_bytes(world: World) -> None:
    (world.directory / "bad.env").write_bytes(b"A=1\nB=\xff\xfe\n")
    error = refused(world, "services: {a: {image: x, env_file: bad.env}}")
    assert str(error).endswith(
        "bad.env:2: failed to read " + f"{world.directory}/bad.env: not UTF-8: save the file as UTF-8"
    )


def test_an_env_file_of_many_variables(world: World) -> None:
    world.write("".join(f"V{n}=\n" for n in range(60_000)), "many.env")
    assert "more than 50000 variables" in str(refused(world, "services: {a: {image: x, env_file: many.env}}"))


def test_an_env_file_that_doubles(world: World) -> None:
    world.write("A=xxxxxxxx\n" + "A=$A$A\n" * 1000, "double.env")
    error = refused(world, "services: {a: {image: x, env_file: double.env}}")
    assert "values are longer than" in str(error)
    assert error.position is not None and error.position.line == 22


def test_an_env_file_of_what_is_not_set(world: World) -> None:
    world.write("A=$NOPE\n" * 20_000, "unset.env")
    assert len(world.load("services: {a: {image: x, env_file: unset.env}}").warnings) < 1000


def test_a_file_of_bytes(world: World) -> None:
    (world.directory / "compose.yaml").write_bytes(b"services:\n  a: {image: \xff}\n")
    assert str(refused(world, "")).endswith("compose.yaml:2: yaml: invalid leading UTF-8 octet: save the file as UTF-8")


def test_a_file_of_control_characters(world: World) -> None:
    assert "control characters are not allowed" in str(refused(world, "services:\n  a: {image: \x00}\n"))


@pytest.mark.parametrize("where", ["compose.yaml", "other.yaml"])
def test_a_pipe_that_nothing_writes_to(world: World, where: str) -> None:
    if where != "compose.yaml":
        world.write(f"include: [{where}]\nservices: {{a: {{image: x}}}}\n")
    os.mkfifo(world.directory / where)
    assert "is a named pipe" in str(refused(world, ""))


def test_a_directory(world: World) -> None:
    (world.directory / "compose.yaml").mkdir()
    assert str(refused(world, "")).endswith("compose.yaml: is a directory")


def test_includes_in_a_circle(world: World) -> None:
    world.write("include: [c.yaml]\nservices: {b: {image: x}}\n", "b.yaml")
    world.write("services: {c: {image: x}}\ninclude:\n  - compose.yaml\n", "c.yaml")
    error = refused(world, "include: [b.yaml]\nservices: {a: {image: x}}\n")
    assert error.message.startswith(f"include cycle detected:\n{world.directory}/compose.yaml\n include")
    assert str(error.position) == f"{world.directory}/c.yaml:3"


def test_includes_in_includes(world: World) -> None:
    for n in range(40):
        world.write(f"include: [{n + 1}.yaml]\nservices: {{s{n}: {{image: x}}}}\n", f"{n}.yaml")
    assert "more than 20 files include one another" in str(refused(world, "include: [0.yaml]"))


def test_includes_that_double(world: World) -> None:
    for n in range(18):
        world.write(f"include: [{n + 1}.yaml, ./{n + 1}.yaml]\nservices: {{s{n}: {{image: x}}}}\n", f"{n}.yaml")
    world.write("services: {last: {image: x}}", "18.yaml")
    assert "more than 500 files are read for one project" in str(refused(world, "include: [0.yaml]"))


def test_extends_in_a_circle_of_files(world: World) -> None:
    world.write("services:\n  b: {extends: {file: c.yaml, service: c}}\n", "b.yaml")
    world.write("services:\n  c: {extends: {file: compose.yaml, service: a}}\n", "c.yaml")
    error = refused(world, "services:\n  a: {extends: {file: b.yaml, service: b}}\n")
    assert error.message.startswith("Circular reference:\n  a in ")
    assert error.position is not None


def test_extends_of_everything(world: World) -> None:
    base = ", ".join(f"k{n}: v" for n in range(5_000))
    more = "\n".join(f"  s{n}: {{extends: base}}" for n in range(300))
    error = refused(world, f"services:\n  base: {{image: x, labels: {{{base}}}}}\n{more}\n")
    assert "services that extend others have more than" in str(error)


def test_extends_in_a_long_row(world: World) -> None:
    rows = "\n".join(f"  s{n}: {{extends: s{n + 1}}}" for n in range(2000))
    assert "more than 50 services extend one another" in str(
        refused(world, f"services:\n{rows}\n  s2000: {{image: x}}\n")
    )


def test_what_is_included_is_not_there(world: World) -> None:
    error = refused(world, "services: {a: {image: x}}\ninclude:\n  - ../../nowhere/compose.yaml\n")
    assert str(error).startswith(f"{world.directory}/compose.yaml:3: open ")
    assert str(error).endswith("no such file or directory")


def test_what_is_extended_is_not_there(world: World) -> None:
    error = refused(world, "services:\n  a:\n    extends: {file: /etc/nowhere.yaml, service: x}\n")
    assert str(error) == f"{world.directory}/compose.yaml:3: open /etc/nowhere.yaml: no such file or directory"


def test_interpolation_that_doubles(world: World) -> None:
    nested = "x"
    for n in range(200):
        nested = f"${{V{n}:-{nested}}}"
    assert "invalid interpolation format" in str(refused(world, f"services: {{a: {{image: '{nested}'}}}}"))


def test_interpolation_of_gigabytes(world: World) -> None:
    big = "y" * 100_000
    text = "services: {a: {image: x, command: [" + ", ".join(['"${BIG}"'] * 20_000) + "]}}"
    error = refused(world, text, environ={"BIG": big})
    assert "interpolated texts are longer than" in str(error)


def test_braces_that_are_never_closed(world: World) -> None:
    error = refused(world, 'services: {a: {image: "' + "${A:-" * 200_000 + '"}}')
    assert "invalid interpolation format for services.a.image" in error.message
    assert len(str(error)) < 1000


def test_ports_of_everything(world: World) -> None:
    ports = ", ".join(f'"{n}.0.0.1:1-65535:1-65535"' for n in range(1, 60))
    assert "more than" in str(refused(world, f"services: {{a: {{image: x, ports: [{ports}]}}}}"))


def test_a_ring_of_thousands(world: World) -> None:
    rows = "\n".join(f"  s{n}: {{image: x, depends_on: [s{(n + 1) % 1200}]}}" for n in range(1200))
    error = refused(world, f"services:\n{rows}\n")
    assert "dependency cycle detected: s0 -> s1" in error.message
    assert len(error.message) < 1000


def test_a_row_of_thousands(world: World) -> None:
    rows = "\n".join(f"  s{n}: {{image: x, depends_on: [s{n + 1}]}}" for n in range(1200))
    project = world.load(f"services:\n{rows}\n  s1200: {{image: x}}\n", services=("s0",))
    assert len(project.services) == 1201


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "${BIG}", "${NAN}"])
@pytest.mark.parametrize(
    "field",
    [
        "cpus: %s",
        "mem_limit: %s",
        "shm_size: %s",
        "pids_limit: %s",
        "scale: %s",
        "cpu_shares: %s",
        "configs: [{source: c, mode: %s}]",
        "ulimits: {nofile: %s}",
        "healthcheck: {test: x, retries: %s}",
        "deploy: {resources: {limits: {cpus: %s}}}",
        "volumes: [{type: tmpfs, target: /x, tmpfs: {size: %s}}]",
    ],
)
def test_numbers_that_are_none(world: World, field: str, number: str) -> None:
    text = f"services: {{a: {{image: x, {field % number}}}}}\nconfigs: {{c: {{content: x}}}}\n"
    error = refused(world, text, environ={"BIG": "1e999", "NAN": "nan"})
    assert error.position is not None


@pytest.mark.parametrize("text", ["1-99999999999", "-5", "http", "9-8", "80-", "65536"])
def test_ports_that_are_none(world: World, text: str) -> None:
    assert "invalid containerPort" in str(refused(world, f'services: {{a: {{image: x, expose: ["{text}"]}}}}\n'))


def test_every_port_many_times(world: World) -> None:
    text = ", ".join(f'"1-65535/{name}"' for name in ("tcp", "udp", "sctp"))
    assert "ports are exposed" in str(refused(world, f"services: {{a: {{image: x, expose: [{text}]}}}}\n"))
