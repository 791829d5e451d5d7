"""kill -9 of the daemon: containers do not notice, and what they did meanwhile is known afterwards."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from e2e_parts.clients import Client, available
from fault_parts.fragile import Fragile, alive, frames, records_of, until
from free_ports import free_port

COUNT = "i=0; while :; do echo $i; i=$((i+1)); usleep 2000; done"


def test_twenty_running_containers_go_on(daemon: Fragile) -> None:
    """Same processes, same addresses, logs without a gap, the exit code of one that ends meanwhile."""
    counters = [daemon.run("sh", "-c", COUNT) for _ in range(3)]
    leaves = daemon.run("sh", "-c", "trap 'exit 7' TERM; while :; do usleep 20000; done")
    killed = daemon.run("sleep", "1000")
    sleepers = [daemon.run("sleep", "1000", host={"NetworkMode": "none"}) for _ in range(15)]
    going = [*counters, *sleepers]
    before = {id: daemon.inspect(id) for id in [*going, leaves, killed]}
    until(lambda: traps_term(before[leaves]["State"]["Pid"]), "its shell has set its trap")
    daemon.kill()
    os.kill(before[leaves]["State"]["Pid"], signal.SIGTERM)
    os.kill(before[killed]["State"]["Pid"], signal.SIGKILL)
    logs = [Path(before[id]["LogPath"]) for id in counters]
    sizes = [log.stat().st_size for log in logs]
    until(lambda: all(log.stat().st_size > size + 10_000 for log, size in zip(logs, sizes)), "logs grow")
    exits = [daemon.data / "containers" / id / "exit.json" for id in (leaves, killed)]
    until(lambda: all(path.exists() for path in exits), "the ends are written down")
    daemon.start()
    assert daemon.spent() < 3, "seconds of a processor"
    for id in going:
        now = daemon.inspect(id)
        assert now["State"]["Running"] and now["State"]["Pid"] == before[id]["State"]["Pid"]
        assert now["State"]["StartedAt"] == before[id]["State"]["StartedAt"]
        assert now["NetworkSettings"]["Networks"] == before[id]["NetworkSettings"]["Networks"]
    assert daemon.state(leaves)["ExitCode"] == 7
    assert daemon.state(killed)["ExitCode"] == 137
    for id in counters:
        assert daemon.ask("POST", f"/containers/{id}/kill")[0] == 204
        daemon.wait(id)
        numbers = [int(line) for line in daemon.output(id).split()]
        assert numbers == list(range(len(numbers))) and len(numbers) > 100


def test_a_container_that_a_commit_froze_goes_on(daemon: Fragile) -> None:
    """The daemon is killed in the middle of the commit, which is in no record."""
    id = daemon.run("sh", "-c", "dd if=/dev/zero of=/big bs=1M count=400 2>/dev/null; touch /made; sleep 1000")
    until(lambda: daemon.inside(id, "test", "-e", "/made")[0] == 0, "the file is there")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket))
        head = f"POST /commit?container={id}&repo=half HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        client.sendall(head.encode())
        until(lambda: daemon.state(id)["Paused"], "the commit has begun")
        daemon.kill()
    daemon.start()
    assert daemon.state(id)["Status"] == "running"
    assert daemon.inside(id, "echo", "alive") == (0, "alive\n")


def test_published_port_and_address_stay(daemon: Fragile) -> None:
    port = free_port()
    exposed: dict[str, dict[str, str]] = {"80/tcp": {}}
    host = {"PortBindings": {"80/tcp": [{"HostPort": str(port)}]}}
    serve = "echo served > /index.html; exec httpd -f -p 80 -h /"
    id = daemon.run("sh", "-c", serve, ExposedPorts=exposed, host=host)

    def served() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=2) as answer:
                return bool(answer.read() == b"served\n")
        except OSError:
            return False

    until(served, "the published port answers")
    before = daemon.inspect(id)["NetworkSettings"]
    daemon.kill()
    assert served()
    daemon.start()
    assert served()
    after = daemon.inspect(id)["NetworkSettings"]
    assert (after["Networks"], after["Ports"]) == (before["Networks"], before["Ports"])
    taken = daemon.create("true", ExposedPorts=exposed, host=host)
    status, answer = daemon.ask("POST", f"/containers/{taken}/start")
    assert status == 500 and str(port) in answer["message"], "the port is known to be in use"
    other = daemon.run("sleep", "1000")
    mine, theirs = after["Networks"]["bridge"]["IPAddress"], daemon.inspect(other)["NetworkSettings"]["Networks"]
    assert mine != theirs["bridge"]["IPAddress"], "its address is not given away"
    assert daemon.ask("DELETE", f"/containers/{id}?force=1")[0] == 204
    assert not served()


def test_attached_client_goes_on(daemon: Fragile) -> None:
    id = daemon.create("cat", OpenStdin=True, StdinOnce=True, AttachStdin=True, AttachStdout=True)
    connection = daemon.attach(id)
    assert daemon.ask("POST", f"/containers/{id}/start")[0] == 204
    said = b""

    def echo(text: bytes) -> None:
        nonlocal said
        connection.sendall(text)
        while text.decode() not in "".join(t for _, t in frames(said)):
            piece = connection.recv(4096)
            assert piece
            said += piece

    echo(b"before\n")
    daemon.kill()
    echo(b"while killed\n")
    daemon.start()
    echo(b"after\n")
    connection.shutdown(socket.SHUT_WR)
    while piece := connection.recv(4096):
        said += piece
    connection.close()
    assert "".join(text for _, text in frames(said)) == "before\nwhile killed\nafter\n"
    assert daemon.wait(id)["ExitCode"] == 0


@pytest.mark.parametrize("name", ["docker", "corten"])
def test_client_with_streams_gets_all_output(daemon: Fragile, name: str) -> None:
    """`run -i`: the streams go on. What becomes of `wait` on the daemon's connection is the client's business."""
    if name not in available():
        pytest.skip(f"no {name} client (Debian package docker.io)")
    client = Client(name, available()[name], daemon.address, daemon.root)
    process = client.popen("run", "-i", "--name", f"streams-{name}", "corten/busybox", "cat")
    assert process.stdin and process.stdout
    try:
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"one\n"
        id = daemon.inspect(f"streams-{name}")["Id"]
        until(lambda: daemon.state(id)["Running"], "the start is recorded: until then it has not happened")
        daemon.kill()
        daemon.start()
        state = daemon.state(id)  # a client that disconnects has ended the input of `cat`
        assert state["Running"] or (state["Status"], state["ExitCode"]) == ("exited", 0), state
    finally:
        client.close()


def test_exec_is_known_afterwards(daemon: Fragile) -> None:
    """Execs that run while the daemon is killed go on. The next one knows how they end, also when that was in between,
    and the container takes further ones from it."""
    id = daemon.run("sleep", "1000")
    codes = {f"trap 'exit {code}' TERM; while :; do usleep 10000; done": code for code in (3, 4)}
    execs, pids = [], []
    for script in codes:
        status, made = daemon.ask("POST", f"/containers/{id}/exec", {"Cmd": ["sh", "-c", script]})
        assert status == 201
        assert daemon.ask("POST", f"/exec/{made['Id']}/start", {"Detach": True})[0] == 200
        execs.append(made["Id"])
        pids.append(daemon.get(f"/exec/{made['Id']}/json")["Pid"])
    until(lambda: all(traps_term(pid) for pid in pids), "the shells have set their traps")
    daemon.kill()
    os.kill(pids[0], signal.SIGTERM)
    until(lambda: not alive(pids[0]), "the first one's end")
    daemon.start()
    shown = daemon.get(f"/exec/{execs[1]}/json")
    assert (shown["Running"], shown["Pid"], shown["ContainerID"]) == (True, pids[1], id)
    assert daemon.inspect(id)["ExecIDs"] == [execs[1]]
    os.kill(pids[1], signal.SIGTERM)
    until(lambda: not daemon.get(f"/exec/{execs[1]}/json")["Running"], "the second one's end")
    assert [daemon.get(f"/exec/{exec}/json")["ExitCode"] for exec in execs] == list(codes.values())
    assert daemon.inside(id, "sh", "-c", "echo here; exit 5") == (5, "here\n")


def traps_term(pid: int) -> bool:
    with open(f"/proc/{pid}/status") as status:
        caught = next(line.split()[1] for line in status if line.startswith("SigCgt"))
    return bool(int(caught, 16) & 1 << signal.SIGTERM - 1)


def test_restart_policy_after_a_death_without_daemon(daemon: Fragile) -> None:
    host = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}
    id = daemon.run("sleep", "1000", host=host)
    pid = daemon.state(id)["Pid"]
    daemon.kill()
    os.kill(pid, signal.SIGKILL)
    until(lambda: (daemon.data / "containers" / id / "exit.json").exists(), "the end is written down")
    daemon.start()
    until(lambda: daemon.state(id)["Running"] and daemon.state(id)["Pid"] != pid, "it is started again")
    assert daemon.inspect(id)["RestartCount"] == 1


def test_killed_while_paused(daemon: Fragile) -> None:
    id = daemon.run("sleep", "1000")
    assert daemon.ask("POST", f"/containers/{id}/pause")[0] == 204
    daemon.kill()
    daemon.start()
    assert daemon.state(id)["Status"] == "paused"
    assert daemon.ask("POST", f"/containers/{id}/unpause")[0] == 204
    assert daemon.inside(id, "true") == (0, "")


def test_acknowledged_writes_are_there(daemon: Fragile) -> None:
    """Killed at once after each answer: what was acknowledged is so afterwards."""
    id = daemon.create("true", name="kept")
    daemon.kill()
    daemon.start()
    assert daemon.state(id)["Status"] == "created"
    assert daemon.ask("POST", f"/containers/{id}/rename?name=renamed")[0] == 204
    daemon.kill()
    daemon.start()
    assert daemon.inspect("renamed")["Id"] == id
    assert daemon.ask("POST", "/volumes/create", {"Name": "kept"})[0] == 201
    assert daemon.ask("POST", f"/containers/{id}/start")[0] == 204
    daemon.kill()
    daemon.start()
    assert daemon.ask("GET", "/volumes/kept")[0] == 200
    assert daemon.wait(id)["ExitCode"] == 0
    assert daemon.ask("DELETE", f"/containers/{id}")[0] == 204
    assert daemon.ask("DELETE", "/volumes/kept")[0] == 204
    daemon.kill()
    daemon.start()
    assert daemon.ask("GET", f"/containers/{id}/json")[0] == 404
    assert daemon.ask("GET", "/volumes/kept")[0] == 404


def test_torn_log_line_does_not_hide_the_rest(daemon: Fragile) -> None:
    id = daemon.run("echo", "first")
    daemon.wait(id)
    path = Path(daemon.inspect(id)["LogPath"])
    with path.open("ab") as log:
        log.write(b'{"log":"torn')
    assert daemon.ask("POST", f"/containers/{id}/start")[0] == 204
    daemon.wait(id)
    assert daemon.output(id) == "first\nfirst\n"
    assert records_of(path.read_bytes().splitlines()[-1]) == ["first\n"]


def test_a_volume_in_memory_is_still_shared(daemon: Fragile) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    assert daemon.ask("POST", "/volumes/create", {"Name": "ram", "DriverOpts": options})[0] == 201
    has = {"Binds": ["ram:/data"]}
    one = daemon.run("sh", "-c", "echo said > /data/f; exec sleep 1000", host=has)
    until(lambda: daemon.inside(one, "cat", "/data/f") == (0, "said\n"), "the file")
    daemon.kill()
    daemon.start()
    assert daemon.outcome("cat", "/data/f", host=has) == (0, "said\n")
