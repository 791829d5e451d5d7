"""A whole file."""

from __future__ import annotations

from corten.compose.schema.service import SERVICE
from corten.compose.schema.shapes import (
    BOOLEAN_TEXT,
    INTEGER,
    KEYS,
    OPTIONS,
    PAIRS,
    STRING,
    STRING_OR_LIST,
    STRINGS,
    Shape,
    array,
    choice,
    mapping,
    table,
)

_TYPES = ("boolean", "string", "object")
_EXTERNAL = Shape(types=_TYPES, named={"name": STRING}, extended=True, closed=True)
_EXTERNAL_FILE = Shape(types=_TYPES, named={"name": STRING})
_INCLUDE = choice(
    STRING,
    mapping({"path": STRING_OR_LIST, "env_file": STRING_OR_LIST, "project_directory": STRING}, extended=False),
)
_POOL = mapping(
    {
        "subnet": STRING,
        "ip_range": STRING,
        "gateway": STRING,
        "aux_addresses": table(STRING, closed=True),
    }
)
_NETWORK = mapping(
    {
        "name": STRING,
        "driver": STRING,
        "driver_opts": OPTIONS,
        "ipam": mapping({"driver": STRING, "config": array(_POOL), "options": table(STRING, closed=True)}),
        "external": _EXTERNAL,
        **dict.fromkeys(("internal", "enable_ipv4", "enable_ipv6", "attachable"), BOOLEAN_TEXT),
        "labels": PAIRS,
    },
    null=True,
)
_VOLUME = mapping(
    {"name": STRING, "driver": STRING, "driver_opts": OPTIONS, "external": _EXTERNAL, "labels": PAIRS},
    null=True,
)
_FILE = {
    "name": STRING,
    "environment": STRING,
    "file": STRING,
    "external": _EXTERNAL_FILE,
    "labels": PAIRS,
    "template_driver": STRING,
}
_SECRET = mapping({**_FILE, "driver": STRING, "driver_opts": OPTIONS})
_CONFIG = mapping({**_FILE, "content": STRING})
_MODEL = mapping({"name": STRING, "model": STRING, "context_size": INTEGER, "runtime_flags": STRINGS}, "model")

PROJECT = mapping(
    {
        "version": STRING,
        "name": STRING,
        "include": array(_INCLUDE),
        "services": table(SERVICE, KEYS, closed=True),
        "models": table(_MODEL, KEYS),
        "networks": table(_NETWORK, KEYS),
        "volumes": table(_VOLUME, KEYS, closed=True),
        "secrets": table(_SECRET, KEYS, closed=True),
        "configs": table(_CONFIG, KEYS, closed=True),
    }
)
