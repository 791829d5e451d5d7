"""`deploy`, `gpus`, `develop`."""

from __future__ import annotations

from corten.compose.schema.shapes import (
    BOOLEAN,
    HOOK,
    INTEGER_TEXT,
    NUMBER_TEXT,
    PAIRS,
    STRING,
    STRING_OR_LIST,
    STRING_SET,
    STRINGS,
    Shape,
    array,
    choice,
    mapping,
    scalar,
)

_DEVICE = {
    "capabilities": STRING_SET,
    "count": scalar("string", "integer"),
    "device_ids": STRING_SET,
    "driver": STRING,
    "options": PAIRS,
}
_DEVICES = array(mapping(_DEVICE, "capabilities"))
GPUS = choice(
    scalar("string", values=("all",)),
    array(Shape(types=("object",), named=_DEVICE)),
)

_UPDATE = mapping(
    {
        "parallelism": INTEGER_TEXT,
        "delay": STRING,
        "failure_action": STRING,
        "monitor": STRING,
        "max_failure_ratio": NUMBER_TEXT,
        "order": scalar("string", values=("start-first", "stop-first")),
    }
)
_LIMITS = mapping({"cpus": NUMBER_TEXT, "memory": STRING, "pids": INTEGER_TEXT})
_GENERIC = array(mapping({"discrete_resource_spec": mapping({"kind": STRING, "value": NUMBER_TEXT})}))
_RESERVATIONS = mapping({"cpus": NUMBER_TEXT, "memory": STRING, "generic_resources": _GENERIC, "devices": _DEVICES})

DEPLOY = mapping(
    {
        "mode": STRING,
        "endpoint_mode": STRING,
        "replicas": INTEGER_TEXT,
        "labels": PAIRS,
        "rollback_config": _UPDATE,
        "update_config": _UPDATE,
        "resources": mapping({"limits": _LIMITS, "reservations": _RESERVATIONS}),
        "restart_policy": mapping(
            {"condition": STRING, "delay": STRING, "max_attempts": INTEGER_TEXT, "window": STRING}
        ),
        "placement": mapping(
            {
                "constraints": STRINGS,
                "preferences": array(mapping({"spread": STRING})),
                "max_replicas_per_node": INTEGER_TEXT,
            }
        ),
    },
    null=True,
)

_TRIGGER = mapping(
    {
        "ignore": STRING_OR_LIST,
        "include": STRING_OR_LIST,
        "path": STRING,
        "action": scalar("string", values=("rebuild", "sync", "restart", "sync+restart", "sync+exec")),
        "target": STRING,
        "exec": HOOK,
        "initial_sync": BOOLEAN,
    },
    "path",
    "action",
)
DEVELOP = mapping({"watch": array(_TRIGGER)}, null=True)
