"""kill -9 of the launcher, of a supervisor, of what they are in the middle of."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress

from e2e_parts import census
from fault_parts.fragile import Fragile, alive, kill, name, parent, until


def processes(daemon: Fragile, id: str, count: int) -> list[int]:
    """Its processes, once there are as many."""

    def found() -> list[int]:
        pids = [int(row[1]) for row in daemon.get(f"/containers/{id}/top")["Processes"]]
        return pids if len(pids) == count else []

    return until(found, f"{count} processes")


def test_launcher_is_replaced(daemon: Fragile) -> None:
    running = daemon.run("sleep", "1000")
    old = daemon.launcher
    kill(old)
    assert daemon.inside(running, "echo", "unaffected") == (0, "unaffected\n")
    assert daemon.outcome("echo", "started") == (0, "started\n")
    assert daemon.launcher != old
    assert daemon.state(running)["Running"]


def test_launcher_killed_again_and_again_between_starts(daemon: Fragile) -> None:
    """Every start succeeds, or fails with one clear error; nothing hangs."""
    stop = threading.Event()

    def killer() -> None:
        while not stop.wait(0.15):
            for pid in census._children(daemon.pid):
                if name(pid) == "corten:launcher":
                    with suppress(ProcessLookupError):  # the daemon has just waited for it
                        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=killer)
    thread.start()
    started = 0
    try:
        for _ in range(8):
            id = daemon.create("true")
            status, answer = daemon.ask("POST", f"/containers/{id}/start")
            assert status == 204 or (status == 500 and answer["message"]), (status, answer)
            started += status == 204
    finally:
        stop.set()
        thread.join(60)
    assert started, "all of them failed"
    assert daemon.outcome("true") == (0, "")


def test_supervisor_killed(daemon: Fragile) -> None:
    """Its container ends with it, with everything in it, and can be started again."""
    other = daemon.run("sleep", "1000")
    id = daemon.run("sh", "-c", "setsid sleep 1000 & sleep 1000; true")
    assert daemon.ask("POST", f"/containers/{id}/exec", {"Cmd": ["true"]})[0] == 201
    first, supervisor = daemon.state(id)["Pid"], daemon.supervisor(id)
    members = processes(daemon, id, 3)
    assert first in members
    os.kill(supervisor, signal.SIGKILL)
    state = daemon.wait(id)
    assert state["ExitCode"] == 137 and "supervisor was killed" in state["Error"]
    until(lambda: not any(alive(pid) for pid in members), "the end of its processes")
    assert daemon.state(other)["Running"]
    assert daemon.ask("POST", f"/containers/{id}/start")[0] == 204
    assert daemon.state(id)["Error"] == ""


def test_supervisor_killed_of_a_container_in_the_hosts_pid_namespace(daemon: Fragile) -> None:
    """No PID namespace ends its processes, and none of them is the supervisor's child: its control group holds them."""
    id = daemon.run("sh", "-c", "sleep 1000 & sleep 1000 & wait", host={"PidMode": "host"})
    members = processes(daemon, id, 3)
    os.kill(daemon.supervisor(id), signal.SIGKILL)
    assert daemon.wait(id)["ExitCode"] == 137
    until(lambda: not any(alive(pid) for pid in members), "the end of its processes")


def test_supervisor_killed_while_no_daemon_runs(daemon: Fragile) -> None:
    id = daemon.run("sh", "-c", "sleep 1000 & wait", host={"PidMode": "host"})
    members = processes(daemon, id, 2)
    supervisor = parent(daemon.state(id)["Pid"])
    daemon.kill()
    kill(supervisor)
    daemon.start()
    state = daemon.state(id)
    assert (state["Status"], state["ExitCode"]) == ("exited", 137) and state["Error"]
    until(lambda: not any(alive(pid) for pid in members), "the end of its processes")
    assert f"sweep: container {id}: control group" in daemon.log.read_text()
    assert daemon.ask("POST", f"/containers/{id}/start")[0] == 204


def test_supervisor_killed_with_restart_policy(daemon: Fragile) -> None:
    id = daemon.run("sleep", "1000", host={"RestartPolicy": {"Name": "always"}})
    pid = daemon.state(id)["Pid"]
    os.kill(daemon.supervisor(id), signal.SIGKILL)
    until(lambda: (s := daemon.state(id))["Running"] and s["Pid"] not in (0, pid), "it is started again")
    assert daemon.ask("POST", f"/containers/{id}/stop?t=0")[0] == 204


def test_supervisor_stopped_and_killed(daemon: Fragile) -> None:
    """A supervisor that does not answer delays no request for another container."""
    id, other = daemon.run("sleep", "1000"), daemon.run("sleep", "1000")
    supervisor = daemon.supervisor(id)
    os.kill(supervisor, signal.SIGSTOP)
    assert daemon.inside(other, "true") == (0, "")
    assert len(daemon.containers()) == 2
    os.kill(supervisor, signal.SIGKILL)
    assert daemon.wait(id)["ExitCode"] == 137


def test_a_hung_supervisor_does_not_keep_the_daemon_from_starting(daemon: Fragile) -> None:
    id, other = daemon.run("sleep", "1000"), daemon.run("sleep", "1000")
    supervisor = daemon.supervisor(id)
    os.kill(supervisor, signal.SIGSTOP)
    daemon.kill()
    try:
        daemon.start()
        assert daemon.inside(other, "true") == (0, "")
    finally:
        os.kill(supervisor, signal.SIGCONT)
    until(lambda: daemon.state(id)["Running"] and daemon.inside(id, "true") == (0, ""), "it is the daemon's again")
