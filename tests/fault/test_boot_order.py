"""StartAfter: a daemon that finds all of its containers ended, as after a reboot, starts them in their order."""

from __future__ import annotations

from typing import Any

from fault_parts.fragile import Fragile, alive, kill, until

POLICY = {"Name": "always"}
HEALTHY = {"Test": ["CMD", "test", "-e", "/ready"], "Interval": 100_000_000}


def reboot(daemon: Fragile, *ids: str) -> None:
    """All processes go with the daemon."""
    pids = [daemon.state(id)["Pid"] for id in ids]
    supervisors = [daemon.supervisor(id) for id in ids]
    daemon.kill()
    for pid in (*supervisors, *pids):
        if alive(pid):
            kill(pid)
    daemon.start()


def create(daemon: Fragile, *after: str, **more: Any) -> str:
    edges = [dict(zip(("Container", "Condition"), edge.split(":"), strict=True)) for edge in after]
    host = {"RestartPolicy": POLICY, "StartAfter": edges, "NetworkMode": "none"}
    return daemon.run("sleep", "100000", host=host, **more)


def test_healthy_first(daemon: Fragile) -> None:
    db = create(daemon, Healthcheck=HEALTHY)
    web = create(daemon, f"{db}:healthy")
    front = create(daemon, f"{web}:started")
    assert daemon.inspect(web)["HostConfig"]["StartAfter"] == [{"Container": db, "Condition": "healthy"}]
    reboot(daemon, db, web, front)
    until(lambda: daemon.state(db)["Pid"] > 0, "the first one runs")
    assert [daemon.state(id)["Status"] for id in (web, front)] == ["restarting"] * 2
    assert daemon.inside(db, "touch", "/ready") == (0, "")
    until(lambda: daemon.state(front)["Pid"] > 0, "the last one runs")
    begun = [daemon.state(id)["StartedAt"] for id in (db, web, front)]
    assert begun == sorted(begun) and daemon.state(db)["Health"]["Status"] == "healthy"


def test_a_client_needs_no_order(daemon: Fragile) -> None:
    """One that waits can be started, stopped and removed."""
    db = create(daemon, Healthcheck=HEALTHY)
    started, stopped, removed = (create(daemon, f"{db}:healthy") for _ in range(3))
    reboot(daemon, db, started, stopped, removed)
    assert daemon.ask("POST", f"/containers/{stopped}/stop")[0] == 204
    assert daemon.ask("POST", f"/containers/{started}/start")[0] == 204
    assert daemon.ask("DELETE", f"/containers/{removed}?force=1")[0] == 204
    daemon.wait_running(db)
    assert daemon.inside(db, "touch", "/ready") == (0, "")
    until(lambda: daemon.state(db)["Health"]["Status"] == "healthy", "it is healthy")
    assert daemon.state(started)["Running"] and daemon.state(stopped)["Status"] == "exited"
    assert daemon.ask("GET", f"/containers/{removed}/json")[0] == 404


def test_what_cannot_be_is_not_waited_for(daemon: Fragile) -> None:
    """A circle, one that was removed, one without a health check, one that has failed."""
    gone = create(daemon)
    one = create(daemon, f"{gone}:started")
    other = create(daemon, f"{one}:healthy")
    failed = daemon.run("sh", "-c", "exit 3", host={"NetworkMode": "none"})
    until(lambda: daemon.state(failed)["Status"] == "exited", "it has failed")
    third = create(daemon, f"{failed}:completed")
    assert daemon.ask("DELETE", f"/containers/{gone}?force=1")[0] == 204
    assert daemon.ask("POST", f"/containers/{other}/rename?name={gone}")[0] == 204  # so that they wait for one another
    reboot(daemon, one, other, third)
    until(lambda: all(daemon.state(id)["Pid"] > 0 for id in (one, other, third)), "all run")
    log = daemon.log.read_text()
    assert "waits for it" in log and f"{failed} has exited with 3" in log


def test_one_that_does_not_exist(daemon: Fragile) -> None:
    host = {"StartAfter": [{"Container": "nosuch"}], "RestartPolicy": POLICY}
    body = {"Image": "corten/busybox", "Cmd": ["true"], "HostConfig": host}
    status, answer = daemon.ask("POST", "/containers/create", body)
    assert status == 201 and answer["Warnings"] == ["StartAfter has no effect as it is now: No such container: nosuch"]
