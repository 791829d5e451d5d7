"""--security-opt: what cannot be applied is refused or warned about; `writable-cgroups` (Docker 28)."""

from __future__ import annotations

import pytest

from corten.kernel import apparmor
from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend

ONLY_WITHOUT = pytest.mark.skipif(apparmor.enabled(), reason="this machine has AppArmor")
MOUNT = "grep ' /sys/fs/cgroup/memory ' /proc/self/mountinfo || grep ' /sys/fs/cgroup ' /proc/self/mountinfo"


def create(daemon: Cortend, *options: str) -> tuple[int, object]:
    body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"SecurityOpt": list(options), "NetworkMode": "none"}}
    status, answer = daemon.ask("POST", "/containers/create", body)
    return status, answer.get("message", answer.get("Warnings"))


@ONLY_WITHOUT
@pytest.mark.parametrize("option", ["apparmor=mine", "apparmor:mine"])
def test_a_profile_where_there_is_no_apparmor(daemon: Cortend, option: str) -> None:
    expected = "AppArmor profile 'mine' cannot be applied: this machine has no AppArmor"
    assert create(daemon, option) == (400, expected)
    assert create(daemon, "apparmor=unconfined") == (201, [])


@ONLY_WITHOUT
def test_a_client_shows_why(cli: Client) -> None:
    done = cli("run", "--rm", "--security-opt", "apparmor=mine", IMAGE, "true", code=125)
    assert "this machine has no AppArmor" in done.err


def test_a_label_is_warned_about(daemon: Cortend) -> None:
    warning = "SELinux is not supported: the label 'type:spc_t' has no effect"
    assert create(daemon, "label=type:spc_t") == (201, [warning])
    assert create(daemon, "label=disable") == (201, [])
    assert create(daemon, "label=disable", "label:type:spc_t") == (201, [warning])


def test_a_client_shows_the_warning(cli: Client) -> None:
    done = cli("run", "--rm", "--security-opt", "label=type:spc_t", IMAGE, "true")
    assert "SELinux is not supported: the label 'type:spc_t' has no effect" in done.err


@pytest.mark.parametrize(("option", "access"), [("writable-cgroups=true", "rw"), ("writable-cgroups=false", "ro")])
def test_writable_cgroups(cli: Client, option: str, access: str) -> None:
    """Its own control group, in which it can make others."""
    flags = ("run", "--rm", "--cgroupns", "private", "--security-opt", option)
    line = cli.out(*flags, IMAGE, "sh", "-c", MOUNT).splitlines()[0]
    assert line.split()[5].split(",")[0] == access, line
    made = "cd /sys/fs/cgroup; [ -d memory ] && cd memory; mkdir mine && rmdir mine && echo made"
    done = cli(*flags, IMAGE, "sh", "-c", made, code=0 if access == "rw" else 1)
    assert done.out == ("made\n" if access == "rw" else "") and ("Read-only" in done.err) == (access == "ro")


@pytest.mark.parametrize("option", ["writable-cgroups", "writable-cgroups=maybe", "nosuch=1"])
def test_options_that_are_none(daemon: Cortend, option: str) -> None:
    status, message = create(daemon, option)
    assert status == 400 and option in str(message)
