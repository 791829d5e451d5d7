"""Docker's structures from JSON and back: Go's types, words, zero values, and keys in any case."""

from __future__ import annotations

import importlib
import json
import pkgutil
from typing import Any

import pytest

import corten.spec.docker
from corten.errors import Invalid
from corten.spec.docker.config import Config, HealthConfig
from corten.spec.docker.create import CreateRequest
from corten.spec.docker.decode import decode
from corten.spec.docker.host_config import HostConfig, PortBinding, RestartPolicy
from corten.spec.docker.networking import EndpointSettings
from corten.spec.docker.records import record_of
from corten.spec.docker.struct import UNSET, Struct
from corten.spec.go_types import Items, Record, Table, Type

BODY = {
    "Image": "busybox",
    "Env": ["lower=case"],
    "Labels": {"lower": "case"},
    "Healthcheck": {"Test": ["NONE"], "StartPeriod": 1},
    "HostConfig": {
        "NetworkMode": "none",
        "Sysctls": {"net.ipv4.ip_forward": "1"},
        "PortBindings": {"80/tcp": [{"HostIp": "::1", "HostPort": "8080"}]},
        "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
        "Mounts": [{"Type": "bind", "Source": "/a", "BindOptions": {"NonRecursive": True}}],
    },
    "NetworkingConfig": {"EndpointsConfig": {"net": {"IPAMConfig": {"IPv4Address": "10.0.0.2"}}}},
}


def structs() -> list[type[Struct]]:
    modules = [
        importlib.import_module(f"corten.spec.docker.{m.name}")
        for m in pkgutil.iter_modules(corten.spec.docker.__path__)
    ]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return sorted((cls for cls in found if issubclass(cls, Struct) and cls is not Struct), key=lambda cls: cls.__name__)


def respelled(value: Any, kind: Type, change: Any) -> Any:
    """`value` with the keys of structures changed; those of maps are the users' own."""
    match kind:
        case Record(fields=fields):
            return {change(key): respelled(each, fields[key], change) for key, each in value.items()}
        case Table(element):
            return {key: respelled(each, element, change) for key, each in value.items()}
        case Items(element):
            return [respelled(each, element, change) for each in value]
    return value


@pytest.mark.parametrize("change", [str, str.lower, str.upper, str.swapcase])
def test_keys_match_in_any_case(change: Any) -> None:
    changed = respelled(BODY, record_of(CreateRequest), change)
    assert decode(CreateRequest, changed) == decode(CreateRequest, BODY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"image": "a", "Image": "b"}', CreateRequest(image="b")),
        ('{"Image": "a", "image": "b"}', CreateRequest(image="b")),
        ('{"Image": "a", "image": null}', CreateRequest(image="a")),
        (
            '{"hostconfig": {"Memory": 1}, "HostConfig": {"init": true}}',
            CreateRequest(host_config=HostConfig(memory=1, init=True)),
        ),
        ('{"Unknown": {"image": 1}, "": null}', CreateRequest()),
        ("null", CreateRequest()),
    ],
)
def test_two_spellings_and_what_is_not_known(text: str, expected: CreateRequest) -> None:
    assert decode(CreateRequest, json.loads(text)) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "array into Go value of type container.CreateRequest"),
        (
            {"HostConfig": 1},
            "number into Go struct field ContainerConfigWrapper.HostConfig of type contai",
        ),
        ({"hostConfig": {"memory": "1"}}, "string into Go struct field HostConfig.HostConfig.Memory of type int64"),
        (
            {"HostConfig": {"Memory": 2**63}},
            "number 9223372036854775808 into Go struct field HostConfig.HostConfig.Memory",
        ),
        ({"HostConfig": {"Memory": 1.5}}, "number 1.5 into Go struct field HostConfig.HostConfig.Memory of type int64"),
        ({"HostConfig": {"Init": "yes"}}, "string into Go struct field HostConfig.HostConfig.Init of type bool"),
        (
            {"HostConfig": {"Mounts": {"a": 1}}},
            "object into Go struct field HostConfig.HostConfig.Mounts of type []mou",
        ),
        ({"Labels": {"a": 1}}, "number into Go struct field ContainerConfigWrapper.Labels of type string"),
        ({"Cmd": {"a": 1}}, "object into Go struct field ContainerConfigWrapper.Cmd of type string"),
        ({"Cmd": ["a", 1]}, "array into Go struct field ContainerConfigWrapper.Cmd of type string"),
        (
            {"ExposedPorts": {"80": 1}},
            "number into Go struct field ContainerConfigWrapper.ExposedPorts of type str",
        ),
    ],
)
def test_wrong_types_are_refused_in_gos_words(body: object, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        decode(CreateRequest, body)
    assert str(caught.value).startswith("json: cannot unmarshal " + message)


@pytest.mark.parametrize(
    "bad", [{"Image": "a\0b"}, {"Image": "\ud800"}, {"Labels": {"\ud800": ""}}, {"Env": ["x" * (1 << 20) + "x"]}]
)
def test_texts_that_no_file_could_hold_are_refused(bad: object) -> None:
    with pytest.raises(Invalid):
        decode(Config, bad)


def test_nulls_are_zero_values() -> None:
    asked = {"Cmd": None, "Labels": {"a": None}, "ExposedPorts": {"80/tcp": None}, "Healthcheck": None}
    assert decode(Config, asked) == Config(labels={"a": ""}, exposed_ports={"80/tcp": {}})
    host = decode(HostConfig, {"PortBindings": {"80/tcp": None}, "RestartPolicy": None})
    assert (host.port_bindings, host.restart_policy.name) == ({"80/tcp": []}, "")


def test_one_word_stands_for_a_list_of_words() -> None:
    assert decode(Config, {"Cmd": "ls", "Entrypoint": []}).command_line() == ["ls"]


def test_fields_exist_from_a_version_on() -> None:
    body = {"Healthcheck": {"StartInterval": 5}, "HostConfig": {"Annotations": {"a": "b"}, "KernelMemory": 1}}
    old, new = decode(CreateRequest, body, (1, 41)), decode(CreateRequest, body, (1, 50))
    assert (old.healthcheck, old.host_config) == (HealthConfig(), HostConfig(kernel_memory=1))
    assert (new.healthcheck, new.host_config) == (HealthConfig(start_interval=5), HostConfig(annotations={"a": "b"}))
    assert "Annotations" not in HostConfig(annotations={"a": "b"}).to_json((1, 42))
    assert "GwPriority" in EndpointSettings().to_json((1, 48))
    assert "GwPriority" not in EndpointSettings().to_json((1, 47))


def test_omitempty_hides_zero_values_and_no_pointer_to_one() -> None:
    shown = HostConfig(init=False, tmpfs={}, annotations={"a": "b"}).to_json()
    assert (shown["Init"], shown["Annotations"], "Tmpfs" in shown, shown["Binds"]) == (False, {"a": "b"}, False, None)


def test_values_are_frozen_and_replaced() -> None:
    policy = RestartPolicy(name="always")
    with pytest.raises(AttributeError, match="replace"):
        policy.name = "no"  # type: ignore[misc]
    assert policy.replace(maximum_retry_count=3).to_json() == {"Name": "always", "MaximumRetryCount": 3}
    with pytest.raises(TypeError, match="has no nam"):
        policy.replace(nam="x")
    assert policy != PortBinding()


@pytest.mark.parametrize("struct", structs(), ids=lambda cls: cls.__name__)
def test_every_structure_reads_what_it_shows(struct: type[Struct]) -> None:
    shown = struct().to_json()
    assert decode(struct, shown) == struct()
    keys = [field.key for field in struct.FIELDS.values()]
    assert sorted(record_of(struct).fields) == sorted(keys)
    assert len({key.lower() for key in keys}) == len(keys)


@pytest.mark.parametrize(
    ("given", "size"), [([], [0, 0]), ([24], [24, 0]), ([24, 80], [24, 80]), ([1, 2, 3], [1, 2]), (None, [0, 0])]
)
def test_arrays_of_go_have_a_length(given: list[int] | None, size: list[int]) -> None:
    assert decode(HostConfig, {"ConsoleSize": given}).console_size == size


def test_a_client_sends_what_was_set_and_nothing_else() -> None:
    host = HostConfig(
        memory=0,
        masked_paths=[],
        init=None,
        tmpfs=UNSET,
        restart_policy=RestartPolicy(name="no"),
        port_bindings={"80/tcp": [PortBinding(host_port="")]},
        console_size=(24, 80),
        uts_mode="host",
    )
    assert CreateRequest(image="img", host_config=host).given_json() == {
        "Image": "img",
        "HostConfig": {
            "Memory": 0,
            "MaskedPaths": [],
            "Init": None,
            "RestartPolicy": {"Name": "no"},
            "PortBindings": {"80/tcp": [{"HostPort": ""}]},
            "ConsoleSize": [24, 80],
            "UTSMode": "host",
        },
    }


def test_values_are_left_out_and_laid_over_others() -> None:
    policy = RestartPolicy(name="always", maximum_retry_count=0)
    assert policy.replace(name=UNSET).given_json() == {"MaximumRetryCount": 0}
    assert RestartPolicy(name="no").over(policy).given_json() == {"MaximumRetryCount": 0, "Name": "no"}


@pytest.mark.parametrize("struct", structs(), ids=lambda cls: cls.__name__)
def test_what_is_set_and_what_is_shown_have_the_same_keys(struct: type[Struct]) -> None:
    keys = {name: field.key for name, field in struct.FIELDS.items()}
    assert struct(**dict.fromkeys(keys)).given_json() == dict.fromkeys(keys.values())
