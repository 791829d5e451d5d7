"""What a crash of the machine, or of everything at once, leaves: swept when it is ours, untouched when it is not."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from corten.runtime import cgroups
from e2e_parts import census
from fault_parts.fragile import Fragile, alive, kill, parent, until
from free_ports import free_port


def crash(daemon: Fragile, ids: list[str]) -> None:
    """Daemon, launcher, supervisors and containers die at once, as far as a test can do that."""
    pids = [daemon.state(id)["Pid"] for id in ids]
    supervisors = [parent(pid) for pid in pids]
    daemon.kill()
    for pid in (*supervisors, *pids):
        if alive(pid):
            kill(pid)


def trees() -> list[Path]:
    return [Path(hierarchy.mountpoint) for hierarchy in cgroups.detect().hierarchies]


def test_records_of_running_containers_without_processes(daemon: Fragile) -> None:
    """The exec root survived (a disk); the processes did not."""
    ids = [daemon.run("sleep", "1000"), daemon.run("sleep", "1000", host={"PidMode": "host"})]
    crash(daemon, ids)
    daemon.start()
    for id in ids:
        state = daemon.state(id)
        assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 137, 0) and state["Error"]
        assert daemon.ask("POST", f"/containers/{id}/start")[0] == 204


def test_empty_exec_root(daemon: Fragile) -> None:
    """As after a reboot: the exec root was a tmpfs."""
    always = daemon.run("sleep", "1000", host={"RestartPolicy": {"Name": "always"}})
    once = daemon.run("sleep", "1000")
    crash(daemon, [always, once])
    shutil.rmtree(daemon.exec)
    daemon.start()
    assert daemon.state(once)["Status"] == "exited" and daemon.state(once)["ExitCode"] == 137
    assert daemon.wait_running(always)


def test_address_and_port_are_free_again(daemon: Fragile) -> None:
    port = str(free_port())
    host = {"PortBindings": {"80/tcp": [{"HostPort": port}]}}
    id = daemon.run("sleep", "1000", host=host)
    crash(daemon, [id])
    daemon.start()
    again = daemon.run("sleep", "1000", host=host)
    assert daemon.state(again)["Running"]


def test_leftovers_of_ours_go(daemon: Fragile) -> None:
    """Run directories, control groups with a process in them, bundles and trees of creates that were not completed."""
    first = daemon.run("true")  # makes the parent group, which on cgroup v1 takes no process before it has its CPUs
    assert daemon.ask("DELETE", f"/containers/{first}?force=1")[0] == 204
    until(lambda: not os.listdir(daemon.data / "containers"), "its bundle is removed")
    kept = daemon.create("true")
    run_directory, bundle = secrets.token_hex(32), secrets.token_hex(32)
    daemon.kill()
    (daemon.exec / "containers" / run_directory).mkdir()
    (daemon.exec / "containers" / run_directory / "supervisor.sock").touch()
    (daemon.data / "containers" / bundle).mkdir()
    (daemon.data / "containers" / bundle / "config.json").write_text('{"linux": {"cgroups')
    groups = [tree / daemon.cgroup[1:] / id for tree in trees() for id in (run_directory, bundle, kept)]
    for group in groups:
        group.mkdir(parents=True)
    sleeper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        for tree in trees():
            (tree / daemon.cgroup[1:] / run_directory / "cgroup.procs").write_text(str(sleeper.pid))
        (groups[0] / "below").mkdir()
        daemon.start()
        assert sleeper.wait(60) == -9
    finally:
        sleeper.kill()
        sleeper.wait(60)
    assert not any(group.exists() for group in groups)
    assert os.listdir(daemon.exec / "containers") == []
    assert os.listdir(daemon.data / "containers") == [kept]
    log = daemon.log.read_text()
    assert f"sweep: container {run_directory}: control group {daemon.cgroup}/{run_directory} with 1 processes" in log
    assert f"sweep: bundle {bundle}, which no container has" in log


def test_half_made_trees_go(daemon: Fragile) -> None:
    """A tree without a record, and one whose container was never recorded."""
    kept = daemon.create("true")
    lost = daemon.create("true")
    daemon.kill()
    with sqlite3.connect(daemon.data / "corten.db") as database:
        database.execute("DELETE FROM records WHERE kind='container' AND id=?", (lost,))
    database.close()
    before = set(os.listdir(daemon.data / "snapshots"))
    (daemon.data / "snapshots" / "zzz" / "fs" / "etc").mkdir(parents=True)
    (daemon.data / "content" / "ingest" / "new-0123456789abcdef.part").write_bytes(b"half")
    daemon.start()
    assert len(before - set(os.listdir(daemon.data / "snapshots"))) == 1
    assert not (daemon.data / "snapshots" / "zzz").exists()
    assert os.listdir(daemon.data / "content" / "ingest") == []
    assert daemon.ask("POST", f"/containers/{kept}/start")[0] == 204
    assert daemon.wait(kept)["ExitCode"] == 0


def test_what_is_not_ours_stays(daemon: Fragile) -> None:
    """Names that are no ids, ids that are not ours, devices and tables of others."""
    running = daemon.run("sleep", "1000")
    daemon.kill()
    foreign, device = secrets.token_hex(32), f"x{secrets.token_hex(4)}"
    kept = [
        daemon.exec / "containers" / "notes",
        daemon.data / "containers" / "notes",
        daemon.data / "lost+found",
        *(tree / daemon.cgroup[1:] / foreign for tree in trees()),
        *(tree / daemon.cgroup[1:] / "notes" for tree in trees()),
    ]
    for path in kept:
        path.mkdir()
    ip(["link", "add", device, "type", "veth", "peer", "name", f"{device}p"])
    nft(["add", "table", "inet", device])
    try:
        daemon.start()
        assert all(path.exists() for path in kept)
        assert Path(f"/sys/class/net/{device}").exists()
        assert "table" in nft(["list", "table", "inet", device])
        assert daemon.inside(running, "true") == (0, "")
    finally:
        ip(["link", "delete", device])
        nft(["delete", "table", "inet", device])
        for path in kept:
            path.rmdir()


def test_stale_devices_go(daemon: Fragile) -> None:
    """A device of ours on our bridge that no endpoint has."""
    running = daemon.run("sleep", "1000")
    device = census._links(daemon)[0]
    stale = device[:-4] + "dead"
    daemon.kill()
    ip(["link", "add", stale, "type", "veth", "peer", "name", f"p{secrets.token_hex(4)}"])
    ip(["link", "set", stale, "master", daemon.bridge])
    daemon.start()
    assert census._links(daemon) == [device]
    assert daemon.state(running)["Running"]


@pytest.mark.parametrize("content", ["", '{"status": 0, "at": 1.0', "\0\0\0\0", "[]", "null", '{"status": 0}'])
def test_torn_exit_is_no_exit(daemon: Fragile, content: str) -> None:
    """It is written whole or not at all; what a file system makes of it in a crash is not believed."""
    id = daemon.run("sleep", "1000")
    crash(daemon, [id])
    (daemon.data / "containers" / id / "exit.json").write_text(content)
    daemon.start()
    state = daemon.state(id)
    assert (state["Status"], state["ExitCode"]) == ("exited", 137) and state["Error"]


def test_exit_of_an_earlier_run_is_not_this_one(daemon: Fragile) -> None:
    id = daemon.run("sh", "-c", "test -e /once && sleep 1000; touch /once; exit 3")
    assert daemon.wait(id)["ExitCode"] == 3
    assert daemon.ask("POST", f"/containers/{id}/start")[0] == 204
    crash(daemon, [id])
    daemon.start()
    assert daemon.state(id)["ExitCode"] == 137


def test_broken_record_hides_no_other(daemon: Fragile) -> None:
    """What cannot be read is said, nothing of it is removed, and the others are there."""
    good, bad = daemon.create("true"), daemon.create("true")
    daemon.kill()
    with sqlite3.connect(daemon.data / "corten.db") as database:
        row = database.execute("SELECT body FROM records WHERE id=? AND kind='container'", (bad,)).fetchone()
        body = json.loads(row[0])
        broken = json.dumps({**body, "state": 7})
        database.execute("UPDATE records SET body=? WHERE id=? AND kind='container'", (broken, bad))
    daemon.start()
    assert [container["Id"] for container in daemon.containers()] == [good]
    assert (daemon.data / "containers" / bad).is_dir()
    assert f"record of container {bad} cannot be read" in daemon.log.read_text()
    daemon.kill()
    with database:
        database.execute("UPDATE records SET body=? WHERE id=? AND kind='container'", (json.dumps(body), bad))
    database.close()
    daemon.start()
    assert {container["Id"] for container in daemon.containers()} == {good, bad}


def test_missing_bundle_and_tree(daemon: Fragile) -> None:
    """They were deleted: the start says what is missing, removal works."""
    bundle, tree = daemon.create("true"), daemon.create("true")
    daemon.kill()
    shutil.rmtree(daemon.data / "containers" / bundle)
    with sqlite3.connect(daemon.data / "corten.db") as database:
        row = database.execute("SELECT body FROM records WHERE id=? AND kind='snapshot'", (tree,)).fetchone()
    database.close()
    shutil.rmtree(daemon.data / "snapshots" / json.loads(row[0])["tree"][0])
    daemon.start()
    for id in (bundle, tree):
        status, answer = daemon.ask("POST", f"/containers/{id}/start")
        assert status == 204 or (status in (404, 500) and answer["message"]), (status, answer)
        assert daemon.ask("DELETE", f"/containers/{id}?force=1")[0] == 204


@pytest.mark.parametrize("name", ["", "hostname", "config.json"])
def test_what_is_removed_below_a_daemon_that_runs(daemon: Fragile, name: str) -> None:
    """One sentence says which file, and the log has no trace."""
    id, logged = daemon.create("true", name="damaged"), len(daemon.log.read_text())
    place = daemon.data / "containers" / id / name
    if name:
        place.unlink(missing_ok=True)
        place.mkdir()
    else:
        shutil.rmtree(place)
    status, answer = daemon.ask("POST", f"/containers/{id}/start")
    assert (status, answer["message"].startswith("the directory of container damaged is damaged: ")) == (500, True)
    assert str(place).rstrip("/") in answer["message"] and "Traceback" not in daemon.log.read_text()[logged:]


def test_a_tree_that_is_removed_below_a_daemon_that_runs(daemon: Fragile) -> None:
    id, logged = daemon.create("true", name="damaged"), len(daemon.log.read_text())
    with closing(sqlite3.connect(daemon.data / "corten.db")) as database:
        row = database.execute("SELECT body FROM records WHERE id=? AND kind='snapshot'", (id,)).fetchone()
    shutil.rmtree(daemon.data / "snapshots" / json.loads(row[0])["tree"][0])
    for method, path in (("GET", f"/containers/{id}/changes"), ("POST", f"/commit?container={id}")):
        status, answer = daemon.ask(method, path)
        assert (status, answer["message"].startswith("the tree of container damaged is damaged: ")) == (500, True)
    assert daemon.ask("POST", f"/containers/{id}/start")[0] == 500
    assert "Traceback" not in daemon.log.read_text()[logged:]


def ip(arguments: list[str]) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=60)


def nft(arguments: list[str]) -> str:
    return subprocess.run(["nft", *arguments], check=True, timeout=60, capture_output=True, text=True).stdout
