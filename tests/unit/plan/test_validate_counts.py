"""Every list and map of a create request is taken with as many entries as `counts` says, and refused with one more."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from corten.errors import Invalid
from corten.plan.mount_points import MAX_MOUNTS, MAX_VOLUMES
from corten.plan.security import parse_security_options
from corten.plan.validate.counts import LARGE, MOST, check_counts
from corten.spec.docker.create import CreateRequest
from corten.spec.docker.decode import decode
from corten.spec.docker.exec import ExecConfig
from corten.spec.docker.host_config import UpdateConfig
from corten.spec.docker.networking import NetworkCreate
from corten.spec.docker.records import record_of
from corten.spec.docker.struct import Struct
from corten.spec.docker.volume import VolumeCreate
from corten.spec.go_types import Items, Number, Plain, Record, Table, Type
from docker_json import mount_points

BODIES: list[type[Struct]] = [CreateRequest, UpdateConfig, ExecConfig, NetworkCreate, VolumeCreate]


def sample(kind: Type) -> Any:
    match kind:
        case Plain(boolean=True):
            return True
        case Number():
            return 1
        case Items():
            return []
        case Record() | Table():
            return {}
        case _:
            return "x"


def fields(
    kind: Type, wrap: Callable[[Any], Any] = lambda value: value, path: str = "", most: int = MOST
) -> Iterator[tuple[str, Type, Callable[[Any], Any], int]]:
    """(path, type, what puts a value there in a body, its bound) of every list and map, however deep."""
    match kind:
        case Record(fields=known):
            for key, each in known.items():
                inner = f"{path}.{key}".lstrip(".")
                yield from fields(each, partial(_at_key, wrap, key), inner, LARGE.get(key, MOST))
        case Items(element):
            if not kind.length:  # an array of Go, which has no other length
                yield path, kind, wrap, most
            yield from fields(element, lambda value: wrap([value]), path)
        case Table(element):
            yield path, kind, wrap, most
            yield from fields(element, lambda value: wrap({"k": value}), path)


def _at_key(wrap: Callable[[Any], Any], key: str, value: Any) -> Any:
    return wrap({key: value})


def filled(kind: Type, count: int) -> Any:
    assert isinstance(kind, Items | Table)
    one = sample(kind.element)
    return [one] * count if isinstance(kind, Items) else {f"k{number}": one for number in range(count)}


EVERY = [
    pytest.param(body, kind, wrap, path, most, id=f"{body.__name__}-{path}-{kind.go}")
    for body in BODIES
    for path, kind, wrap, most in fields(record_of(body))
]


@pytest.mark.parametrize(("body", "kind", "wrap", "path", "most"), EVERY)
def test_every_list_and_map_at_its_bound(
    body: type[Struct], kind: Type, wrap: Callable[[Any], Any], path: str, most: int
) -> None:
    check_counts(decode(body, wrap(filled(kind, most))))
    with pytest.raises(Invalid, match=rf"^{path} has too many entries: {most + 1}, at most {most} are taken"):
        check_counts(decode(body, wrap(filled(kind, most + 1))))


def test_there_are_some() -> None:
    paths = {each.values[3] for each in EVERY}
    assert len(paths) > 50
    assert {"HostConfig.Mounts", "HostConfig.Mounts.VolumeOptions.Labels", "Env", "IPAM.Config"} <= paths


def test_mounts_and_volumes_of_all_kinds_together() -> None:
    tmpfs = {f"/t{number}": "" for number in range(MAX_MOUNTS // 2)}
    binds = [f"/tmp:/b{number}" for number in range(MAX_MOUNTS // 2)]
    assert len(mount_points({}, {"Tmpfs": tmpfs, "Binds": binds})) == MAX_MOUNTS // 2
    with pytest.raises(Invalid, match="too many mounts"):
        mount_points({}, {"Tmpfs": tmpfs, "Binds": [*binds, "/tmp:/one"]})
    volumes: dict[str, Any] = {f"/v{number}": {} for number in range(MAX_VOLUMES)}
    assert len(mount_points({"Volumes": volumes}, {})) == MAX_VOLUMES
    with pytest.raises(Invalid, match="too many volumes"):
        mount_points({"Volumes": volumes}, {"Binds": ["name:/more"]})


def spellings(key: str, count: int) -> Iterator[str]:
    return itertools.islice(map("".join, itertools.product(*((c.lower(), c.upper()) for c in key))), count)


def test_many_spellings_of_one_key_are_merged_in_linear_time() -> None:
    """DOS-04: each was one more copy of all that came before; 8,192 of these took seconds, 32,768 took minutes."""
    keys = enumerate(spellings("ExposedPorts", 4096))
    many: dict[str, Any] = {key: {f"{number}-{entry}": {} for entry in range(16)} for number, key in keys}
    first = next(iter(many.values()))
    began = time.thread_time()
    found = decode(CreateRequest, many)
    assert time.thread_time() - began < 0.5
    assert found.exposed_ports is not None and len(found.exposed_ports) == 16 * 4096
    assert len(first) == 16, "what was given is not changed"


def test_security_options_are_read_in_linear_time() -> None:
    """DOS-04: 60,000 took four seconds, several times a start."""
    began = time.thread_time()
    assert parse_security_options(["label=x", "disable"] * 30_000).labels == ("x", "disable") * 30_000
    assert time.thread_time() - began < 0.5
