"""One service."""

from __future__ import annotations

import re

from corten.compose.schema.build import BUILD
from corten.compose.schema.deploy import DEPLOY, DEVELOP, GPUS
from corten.compose.schema.shapes import (
    BOOLEAN,
    BOOLEAN_TEXT,
    COMMAND,
    EXTRA_HOSTS,
    FILE_REFERENCES,
    HOOK,
    INTEGER_TEXT,
    KEYS,
    NULL,
    NUMBER_TEXT,
    OPTIONS,
    PAIRS,
    STRING,
    STRING_OR_LIST,
    STRING_SET,
    STRINGS,
    ULIMITS,
    Shape,
    array,
    choice,
    mapping,
    scalar,
    table,
)

_LIMIT = mapping({"path": STRING, "rate": INTEGER_TEXT}, extended=False)
_WEIGHT = mapping({"path": STRING, "weight": INTEGER_TEXT}, extended=False)
_BLKIO = mapping(
    {
        "device_read_bps": array(_LIMIT),
        "device_read_iops": array(_LIMIT),
        "device_write_bps": array(_LIMIT),
        "device_write_iops": array(_LIMIT),
        "weight": INTEGER_TEXT,
        "weight_device": array(_WEIGHT),
    },
    extended=False,
)
_DEPENDENCY = mapping(
    {
        "restart": BOOLEAN_TEXT,
        "required": BOOLEAN,
        "condition": scalar("string", values=("service_started", "service_healthy", "service_completed_successfully")),
    },
    "condition",
)
_DEVICE = mapping({"source": STRING, "target": STRING, "permissions": STRING}, "source")
_ENV_FILE = mapping({"path": STRING, "format": STRING, "required": BOOLEAN_TEXT}, "path", extended=False)
_HEALTHCHECK = mapping(
    {
        "disable": BOOLEAN_TEXT,
        "interval": STRING,
        "retries": NUMBER_TEXT,
        "test": choice(STRING, STRINGS),
        "timeout": STRING,
        "start_period": STRING,
        "start_interval": STRING,
    }
)
_NETWORK = mapping(
    {
        "aliases": STRING_SET,
        "interface_name": STRING,
        "ipv4_address": STRING,
        "ipv6_address": STRING,
        "link_local_ips": STRING_SET,
        "mac_address": STRING,
        "driver_opts": OPTIONS,
        "priority": scalar("number"),
        "gw_priority": scalar("number"),
    }
)
_PORT = mapping(
    {
        "name": STRING,
        "mode": STRING,
        "host_ip": STRING,
        "target": INTEGER_TEXT,
        "published": INTEGER_TEXT,
        "protocol": STRING,
        "app_protocol": STRING,
    }
)
_PROVIDED = scalar("string", "number", "boolean")
_PROVIDER = mapping({"type": STRING, "options": table(choice(_PROVIDED, array(_PROVIDED)))}, "type")
_VOLUME = mapping(
    {
        "type": scalar("string", values=("bind", "volume", "tmpfs", "cluster", "npipe", "image")),
        "source": STRING,
        "target": STRING,
        "read_only": BOOLEAN_TEXT,
        "consistency": STRING,
        "bind": mapping(
            {
                "propagation": STRING,
                "create_host_path": BOOLEAN_TEXT,
                "recursive": scalar("string", values=("enabled", "disabled", "writable", "readonly")),
                "selinux": scalar("string", values=("z", "Z")),
            }
        ),
        "volume": mapping({"labels": PAIRS, "nocopy": BOOLEAN_TEXT, "subpath": STRING}),
        "tmpfs": mapping({"size": choice(scalar("integer", least=0), STRING), "mode": NUMBER_TEXT}),
        "image": mapping({"subpath": STRING}),
    },
    "type",
)
_MODEL = mapping({"endpoint_var": STRING, "model_var": STRING})
_PULL_POLICY = re.compile("always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+")
_SCORE = choice(STRING, scalar("integer", least=-1000, most=1000))

SERVICE: Shape = mapping(
    {
        **dict.fromkeys(
            "cgroup_parent cpuset domainname hostname image ipc isolation mac_address network_mode platform"
            " pull_refresh_after restart runtime stop_grace_period stop_signal user uts userns_mode"
            " working_dir".split(),
            STRING,
        ),
        **dict.fromkeys(
            "attach init oom_kill_disable privileged read_only stdin_open tty".split(),
            BOOLEAN_TEXT,
        ),
        **dict.fromkeys(
            "cpu_shares cpu_quota cpu_period cpu_rt_period cpu_rt_runtime cpus mem_limit memswap_limit pids_limit"
            " shm_size".split(),
            NUMBER_TEXT,
        ),
        **dict.fromkeys("annotations environment labels sysctls".split(), PAIRS),
        **dict.fromkeys(
            "cap_add cap_drop device_cgroup_rules dns_opt external_links links profiles security_opt"
            " volumes_from".split(),
            STRING_SET,
        ),
        **dict.fromkeys("dns dns_search tmpfs".split(), STRING_OR_LIST),
        **dict.fromkeys("pre_start post_start pre_stop".split(), array(HOOK)),
        **dict.fromkeys("mem_reservation mem_swappiness scale".split(), INTEGER_TEXT),
        **dict.fromkeys("command entrypoint".split(), COMMAND),
        **dict.fromkeys("configs secrets".split(), FILE_REFERENCES),
        **dict.fromkeys("expose group_add".split(), array(scalar("string", "number"), unique=True)),
        "blkio_config": _BLKIO,
        "build": BUILD,
        "cgroup": scalar("string", values=("host", "private")),
        "container_name": scalar("string", pattern=re.compile("[a-zA-Z0-9][a-zA-Z0-9_.-]+")),
        "cpu_count": choice(STRING, scalar("integer", least=0)),
        "cpu_percent": choice(STRING, scalar("integer", least=0, most=100)),
        "credential_spec": mapping({"config": STRING, "file": STRING, "registry": STRING}),
        "depends_on": choice(
            STRING_SET, Shape(types=("object",), patterned=((re.compile(KEYS), _DEPENDENCY),), closed=True)
        ),
        "deploy": DEPLOY,
        "develop": DEVELOP,
        "devices": array(choice(STRING, _DEVICE)),
        "env_file": choice(STRING, array(choice(STRING, _ENV_FILE))),
        "extends": choice(STRING, mapping({"service": STRING, "file": STRING}, "service", extended=False)),
        "extra_hosts": EXTRA_HOSTS,
        "gpus": GPUS,
        "healthcheck": _HEALTHCHECK,
        "label_file": choice(STRING, STRINGS),
        "logging": mapping({"driver": STRING, "options": table(scalar("string", "number", "null"))}),
        "models": choice(STRING_SET, table(choice(_MODEL, NULL), KEYS)),
        "networks": choice(STRING_SET, table(choice(_NETWORK, NULL), KEYS, closed=True)),
        "oom_score_adj": _SCORE,
        "pid": scalar("string", "null"),
        "ports": array(choice(scalar("number"), STRING, _PORT), unique=True),
        "provider": _PROVIDER,
        "pull_policy": scalar("string", pattern=_PULL_POLICY),
        "storage_opt": Shape(types=("object",)),
        "ulimits": ULIMITS,
        "use_api_socket": BOOLEAN,
        "volumes": array(choice(STRING, _VOLUME), unique=True),
    }
)
