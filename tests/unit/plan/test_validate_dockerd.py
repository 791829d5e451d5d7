"""What dockerd (20.10) refuses, warns about and changes, against our answers to the same requests.

The tables name every request that we answer otherwise, and why. Statuses are compared as "refused or not": dockerd
20.10 answered 500 where later versions answer 400, as we do.
"""

from __future__ import annotations

from typing import Any

import pytest

from corten.errors import Conflict, CortenError, Invalid
from corten.plan.validate.create import check_name
from corten.spec.docker.config import NetworkingConfig
from corten.spec.docker.create import CreateRequest
from corten.spec.docker.decode import decode
from corten.spec.docker.host_config import HostConfig
from docker_json import check_create, merge_config, normalize_host_config, update_resources
from unit.plan.dockerd_cases import ERRORS, IMAGES, NAMES, UPDATES, Json
from unit.plan.dockerd_golden import absolute, facts, golden

ID = "{id}"

#: Refused by both, in other words.
OTHER_WORDS = {
    "isolation": "it knows one, we know two",
    "mems unavailable": "the set is written as a set",
    "no command": "newer: lower case",
    "storage opt": "dockerd asks the file system; we keep no quotas at all",
    "type entrypoint element": "Go's list of words names the inner decoder's error",
}

#: dockerd takes it at create and fails at start, or never looks: refused by us at create.
STRICTER = {
    "shares negative": "dockerd fails at start",
    "hostname bad": "it becomes part of a line of /etc/hosts (ESC-14)",
    "hostname newline": "as above",
    "domainname bad": "as above",
    "sysctl unknown": "runc would refuse it at start; another runtime might not (ESC-13)",
    "sysctl bad": "as above",
    "sysctl net on host network": "as above",
    "sysctl ipc on host ipc": "as above",
    "ulimit soft above hard": "setrlimit(2) would fail at start",
    "ulimit unknown": "as above",
    "port syntax": "dockerd fails at start, or ignores it",
    "port protocol": "as above",
    "port too big": "as above",
    "binding host ip": "as above",
    "dns bad": "it becomes a line of /etc/resolv.conf (ESC-14)",
    "security opt seccomp bad": "dockerd fails at start",
    "ipc bad": "dockerd fails at start",
    "ipc container empty": "dockerd fails at start",
    "pid bad": "newer: refused at create",
    "uts bad": "newer: refused at create",
    "userns bad": "newer: refused at create",
    "log max-size bad": "dockerd fails at start",
    "log max-file zero": "dockerd fails at start",
    "mount tmpfs negative": "mount(2) would fail at start",
    "tmpfs bad option": "dockerd fails at start",
    "volume over root": "dockerd fails at start",
    "device permissions": "runc would fail at start",
    "device rule bad": "dockerd fails at start",
    "masked relative": "runc would fail at start",
    "readonly relative": "runc would fail at start",
}

#: Refused by dockerd, not by `check_create`.
NOT_HERE = {
    "link to nobody": "checked by the engine: containers",
    "pid container": "checked by the engine: containers",
    "volumes from nobody": "checked by the engine: containers",
    "mount bind missing": "checked by the engine: disk",
    "volume driver": "checked by the engine: drivers",
    "two networks": "newer: any number of networks",
    "kernel memory": "newer: the field is ignored",
}


def answer(request: Json) -> Json:
    """Our status and words."""
    image = IMAGES["plain"][1] if request.get("Image") != "none" else {}
    known = facts(runtimes=frozenset({"record"}))
    try:
        asked = decode(CreateRequest, absolute(request))
        host, networking = asked.host_config or HostConfig(), asked.networking_config or NetworkingConfig()
        warnings = check_create(merge_config(image, asked), host, networking, known)
        normalize_host_config(host, known)
    except CortenError as error:
        return {"refused": True, "message": str(error).replace("/{src}", "{src}")}
    return {"refused": False, "warnings": warnings}


def same_words(mine: str, theirs: str) -> bool:
    return mine[:1].lower() + mine[1:] == theirs[:1].lower() + theirs[1:]


@pytest.mark.parametrize("case", ERRORS)
def test_answer_is_dockerds(case: str) -> None:
    mine, theirs = answer(ERRORS[case]), golden("errors")["errors"][case]
    refused = theirs["status"] >= 400
    if case in STRICTER:
        assert (mine["refused"], refused) == (True, False)
    elif case in NOT_HERE:
        assert refused
    else:
        assert mine["refused"] == refused, (mine, theirs)
        if refused and case not in OTHER_WORDS:
            assert same_words(mine["message"], theirs["message"]), (mine["message"], theirs["message"])
        if not refused:
            assert mine["warnings"] == theirs["warnings"]


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    theirs = golden("names")["names"][name]
    if theirs["status"] == 201:
        check_name(name)
    else:
        with pytest.raises(Invalid) as caught:
            check_name(name)
        assert str(caught.value) == theirs["message"]


#: Updates that we answer otherwise.
OTHER_UPDATES = {"swap below": "the kernel would refuse it: dockerd only looks at what is new"}


@pytest.mark.parametrize("case", UPDATES)
def test_update(case: str) -> None:
    created, body = UPDATES[case]
    theirs = golden("updates")["updates"][case]
    host = normalize_host_config(created, facts())
    try:
        updated, _, warnings = update_resources(host, body, facts(), ID)
    except CortenError as error:
        assert case in OTHER_UPDATES or same_words(str(error), theirs["message"])
        assert case in OTHER_UPDATES or isinstance(error, Conflict) == (theirs["status"] == 409)
        return
    assert theirs["status"] == 200
    assert warnings == (theirs["Warnings"] or [])
    mine = {key: shown(key, value) for key, value in updated.to_json().items()}
    unset = {key: shown(key, value) for key, value in normalize_host_config({}, facts()).to_json().items()}
    changed = {key for key in mine if mine[key] != unset[key]}
    recorded = {key: shown(key, value) for key, value in theirs["host_config"].items()}
    assert {key: mine[key] for key in changed} == {key: value for key, value in recorded.items() if value != unset[key]}


def test_tables_name_requests_that_exist() -> None:
    assert (OTHER_WORDS.keys() | STRICTER.keys() | NOT_HERE.keys()) <= ERRORS.keys()


def shown(key: str, value: Any) -> Any:
    """Versions differ in how they show "no limit" and "no policy"."""
    if key == "RestartPolicy":
        return {**value, "Name": value.get("Name") or "no", "MaximumRetryCount": value.get("MaximumRetryCount", 0)}
    return value or 0
