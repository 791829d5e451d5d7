"""Keys of request bodies in any case, as Go's decoder takes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corten.engine.validate import keys
from corten.engine.validate.keys import Spelling
from corten.engine.validate.schema import check_type
from corten.errors import Invalid
from corten.spec.go_types import Record, Table

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


def respelled(value: Any, kind: Any, change: Any) -> Any:
    """`value` with the keys of structures changed; those of tables are people's own."""
    if isinstance(kind, Record):
        return {change(key): respelled(element, kind.fields[key], change) for key, element in value.items()}
    if isinstance(kind, Table):
        return {key: respelled(element, kind.element, change) for key, element in value.items()}
    if isinstance(value, list):
        return [respelled(element, kind.element, change) for element in value]
    return value


@pytest.mark.parametrize("change", [str, str.lower, str.upper, str.swapcase])
def test_any_case(change: Any) -> None:
    assert keys.CREATE.correct(respelled(BODY, keys.schema.CREATE, change)) == BODY


def test_others_stay() -> None:
    body = {"Unknown": {"image": 1}, "": None}
    assert keys.CREATE.correct(dict(body)) == body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"image": "a", "Image": "b"}', {"Image": "b"}),
        ('{"Image": "a", "image": "b"}', {"Image": "b"}),
        ('{"Image": "a", "image": null}', {"Image": "a"}),
        ('{"hostconfig": {"Memory": 1}, "HostConfig": {"init": true}}', {"HostConfig": {"Memory": 1, "Init": True}}),
    ],
)
def test_two_spellings(text: str, expected: object) -> None:
    assert keys.CREATE.correct(json.loads(text)) == expected


@pytest.mark.parametrize("junk", [None, 1, "a", [], [1], {"HostConfig": 1}, {"HostConfig": {"Mounts": {"a": 1}}}])
def test_what_is_no_object_is_left_to_the_types(junk: object) -> None:
    assert keys.CREATE.correct(junk) == junk


@pytest.mark.parametrize("spelling", [value for value in vars(keys).values() if isinstance(value, Spelling)])
def test_every_table_has_fields_of_its_own(spelling: Spelling) -> None:
    name = next(iter(spelling._fields))
    assert spelling.correct({name.swapcase(): None}) == {name: None}


def test_types_are_checked_behind_it() -> None:
    with pytest.raises(Invalid, match=r"HostConfig\.Memory of type int64"):
        check_type(keys.CREATE.correct({"hostConfig": {"memory": "1"}}), keys.schema.CREATE, "CreateRequest", "")
