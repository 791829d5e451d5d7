"""The service as packaging/ ships it, under a real systemd: installed, enabled, used, failing, removed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from e2e_parts import systemd
from e2e_parts.cortend import IMAGE, PROJECT
from e2e_parts.systemd import Systemd

INSTALL = f"{PROJECT}/packaging/install {PROJECT}/.venv"
UNITS = "/etc/systemd/system"
BACK = f"""
if [ -e /etc/corten ] || [ -e {UNITS}/cortend.service.d ] || [ -e {UNITS}/cortend.socket.d ]; then
    rm -rf /etc/corten {UNITS}/cortend.service.d {UNITS}/cortend.socket.d
    systemctl daemon-reload
    systemctl stop cortend.socket cortend.service
fi
systemctl reset-failed
systemctl start cortend.service
ids=$(corten ps -aq)
[ -z "$ids" ] || corten rm -f $ids >/dev/null
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systemd]:
    """With the service installed. Three seconds, once."""
    if why := systemd.missing():
        pytest.skip(why)
    if not (PROJECT / ".venv" / "bin" / "cortend").exists():
        pytest.skip("needs this clone's .venv (scripts/setup test)")
    with Systemd(tmp_path_factory.mktemp("systemd")) as running:
        done = running.run(INSTALL)
        assert "the service runs" in done.err
        yield running


@pytest.fixture(autouse=True)
def back(system: Systemd) -> Iterator[None]:
    """Each test finds the service running with its own settings, and no containers."""
    yield
    system.run(BACK)


def configure(system: Systemd, text: str) -> None:
    system.run(f"mkdir -p /etc/corten; echo '{text}' > /etc/corten/daemon.json")


def drop_in(system: Systemd, unit: str, text: str) -> None:
    place = f"{UNITS}/cortend.{unit}.d"
    system.run(f"mkdir -p {place}; printf '[{unit.title()}]\\n{text}\\n' > {place}/test.conf; systemctl daemon-reload")


def main_process(system: Systemd) -> str:
    return system.run("systemctl show -P MainPID cortend").out.strip()


def test_it_is_enabled_and_runs(system: Systemd) -> None:
    assert system.run("systemctl is-enabled cortend.service cortend.socket").out.split() == ["enabled", "enabled"]
    assert system.run("systemctl is-active cortend.service cortend.socket").out.split() == ["active", "active"]
    assert system.run("systemctl is-system-running", code=None).out.strip() == "running"
    assert system.run("stat -c '%a %U %G' /run/corten /run/corten/corten.sock").out.splitlines() == [
        "711 root root",
        "660 root corten",
    ]
    assert system.run(f"corten run --rm {IMAGE} echo hello").out == "hello\n"
    assert system.run("systemd-analyze verify /etc/systemd/system/cortend.service").err == ""


def test_the_group_may_use_it_and_others_may_not(system: Systemd) -> None:
    group = system.run("getent group corten").out.split(":")[2]
    who = "setpriv --reuid 65534 --clear-groups --regid"
    assert system.run(f"{who} {group} corten run --rm {IMAGE} echo hello").out == "hello\n"
    refused = system.run(f"{who} 65534 corten ps", code=None)
    assert refused.code != 0 and "ermission denied" in refused.err


def test_a_client_starts_it(system: Systemd) -> None:
    system.run("systemctl stop cortend.service")
    assert system.run("systemctl is-active cortend.service", code=3).out == "inactive\n"
    assert "CONTAINER ID" in system.run("corten ps").out
    assert system.run("systemctl is-active cortend.service").out == "active\n"


def test_containers_go_on_under_it(system: Systemd) -> None:
    """Restarted, upgraded, killed, stopped: the container's process is the same, and no client is refused meanwhile."""
    system.run(f"corten run -d --name stays {IMAGE} sleep 1000")
    process = system.run("corten inspect -f '{{.State.Pid}}' stays").out
    daemons = [main_process(system)]
    for change in (
        "systemctl restart cortend",
        INSTALL,
        "systemctl kill -s KILL --kill-whom main cortend; while systemctl is-active -q cortend; do :; done",
        "systemctl stop cortend",
    ):
        system.run(change)
        assert system.run("corten inspect -f '{{.State.Pid}}' stays").out == process
        daemons.append(main_process(system))
    assert len(set(daemons)) == len(daemons)
    assert system.run("corten exec stays echo reached").out == "reached\n"


def test_a_client_during_a_restart_is_served_after_it(system: Systemd) -> None:
    before = main_process(system)
    system.run("systemctl restart cortend & for one in 1 2 3 4 5 6; do corten version >/dev/null || exit 1; done; wait")
    assert main_process(system) != before


def test_reload(system: Systemd) -> None:
    before = main_process(system)
    configure(system, '{"labels": ["of=a reload"]}')
    system.run("systemctl reload cortend")
    until = time.monotonic() + 60
    while "of=a reload" not in system.run("corten info").out:
        assert time.monotonic() < until
    assert main_process(system) == before


def test_hosts_in_the_file(system: Systemd) -> None:
    configure(system, '{"hosts": ["fd://", "unix:///run/corten/second.sock"]}')
    system.run("systemctl restart cortend")
    for host in ("/run/corten/corten.sock", "/run/corten/second.sock"):
        assert "CONTAINER ID" in system.run(f"corten -H unix://{host} ps").out


def test_a_client_of_a_daemon_that_cannot_start(system: Systemd) -> None:
    """It gets an error, also while a container's supervisor lives on; and a daemon that can start comes back."""
    system.run(f"corten run -d --name stays {IMAGE} sleep 1000; systemctl stop cortend")
    configure(system, '{"hosts": ["unix:///run/corten/other.sock"]}')
    refused = system.run("corten ps", code=None)
    assert refused.code != 0 and "closed the connection without an answer" in refused.err, refused
    assert system.run("systemctl is-active cortend.socket").out == "active\n"  # this is the first failure, not the last
    assert "hosts has no fd://" in system.run("journalctl -u cortend --no-pager").out

    # given up: nothing listens any more
    system.run("until [ $(systemctl is-failed cortend.socket) = failed ]; do corten ps || true; done", timeout=60)
    refused = system.run("corten ps", code=None)
    assert refused.code != 0 and "cannot connect" in refused.err, refused

    system.run("rm /etc/corten/daemon.json; systemctl reset-failed; systemctl start cortend")
    assert system.run("corten ps -q").out != ""


def test_a_client_of_a_daemon_that_does_not_come_up(system: Systemd) -> None:
    system.run("systemctl stop cortend")
    drop_in(system, "service", "ExecStartPre=/bin/sleep 1000\\nTimeoutStartSec=1")
    refused = system.run("corten ps", code=None, timeout=20)
    assert refused.code != 0 and "closed the connection without an answer" in refused.err, refused
    assert system.run("systemctl is-active cortend.socket").out == "active\n"  # this is the first failure, not the last


def test_containers_get_a_bounded_number_of_files(system: Systemd) -> None:
    """Not infinity: some programs close every number up to their limit. A machine may allow less than the unit says."""
    assert system.run("systemctl show -P LimitNOFILE cortend").out == "1048576\n"
    assert int(system.run(f"corten run --rm {IMAGE} sh -c 'ulimit -Hn'").out) <= 1048576


def test_nothing_else_holds_its_sockets(system: Systemd) -> None:
    """systemd and the daemon; a process that outlives the daemon would keep its clients waiting."""
    drop_in(system, "socket", "ListenStream=/run/corten/two.sock")
    system.run("systemctl stop cortend.socket cortend.service; systemctl start cortend.service")
    system.run(f"corten -H unix:///run/corten/two.sock run -d {IMAGE} sleep 1000")
    listening = system.run("awk '$4 == \"00010000\" {print $7, $8}' /proc/net/unix").out.splitlines()
    found = dict(line.split() for line in listening)
    wanted = {f"socket:[{number}]" for number, path in found.items() if path.endswith(("/corten.sock", "/two.sock"))}
    assert len(wanted) == 2, listening
    held = system.run("cd /proc; for one in [0-9]*; do ls -l $one/fd 2>/dev/null | sed s/^/$one\\ /; done").out
    holders = {line.split()[0] for line in held.splitlines() if line.rpartition("-> ")[2] in wanted}
    assert holders == {"1", main_process(system)}


def test_removed_and_installed_again(system: Systemd) -> None:
    system.run(f"{PROJECT}/packaging/remove")
    assert system.run("ls /etc/systemd/system /usr/local/bin /run/corten").out.find("cortend") == -1
    assert system.run("systemctl list-unit-files 'cortend*'", code=None).out.count("cortend") == 0
    system.run(INSTALL)
    assert "CONTAINER ID" in system.run("corten ps").out


def test_an_environment_without_corten_is_refused(system: Systemd) -> None:
    done = system.run(f"{PROJECT}/packaging/install /etc", code=1)
    assert done.err == "corten: /etc has no bin/corten\n"
