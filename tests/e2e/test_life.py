"""create, start, stop, kill, restart, rm, pause, rename, wait, top, port, update."""

from __future__ import annotations

import json
import os

import pytest

from e2e_parts import guests
from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.patience import until

FOREVER = ("sleep", "1000")
TRAPS = ("sh", "-c", "trap 'echo TERM; exit 3' TERM; trap 'echo USR1' USR1; echo up; while :; do sleep 0.02; done")


def state(client: Client, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(client.out("inspect", "-f", "{{json .State}}", name))
    return found


def status(client: Client, name: str) -> str:
    return client.out("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", name)


def await_output(client: Client, name: str, text: str) -> None:
    until(lambda: client("logs", name).out, lambda log: text in log)


def test_a_whole_life(every: Client) -> None:
    id = every.out("create", "--name", "life", IMAGE, *FOREVER)
    assert state(every, "life")["Status"] == "created"
    assert every.out("start", "life") == "life"
    running = state(every, id)
    assert running["Running"] and isinstance(running["Pid"], int) and running["Pid"] > 0
    assert every.out("stop", "-t", "0", "life") == "life"
    ended = state(every, "life")
    assert (ended["Status"], ended["ExitCode"], ended["Pid"]) == ("exited", 137, 0)
    assert every.out("start", id[:12]) == id[:12]
    assert every.out("restart", "-t", "0", "life") == "life"
    assert state(every, "life")["Running"]
    assert every.out("rm", "-f", "life") == "life"
    assert every.out("ps", "-aq") == ""


def test_stop_sends_sigterm_first_and_its_signal_can_be_chosen(cli: Client) -> None:
    cli("run", "-d", "--name", "traps", IMAGE, *TRAPS)
    await_output(cli, "traps", "up")
    cli("stop", "-t", "60", "traps")  # it ends by itself, however slow its machine is
    assert state(cli, "traps")["ExitCode"] == 3
    assert cli.out("logs", "traps").split() == ["up", "TERM"]
    cli("run", "-d", "--name", "usr1", "--stop-signal", "USR1", "--stop-timeout", "4", IMAGE, *TRAPS)
    await_output(cli, "usr1", "up")
    cli("stop", "usr1")
    assert state(cli, "usr1")["ExitCode"] == 137
    assert cli.out("logs", "usr1").split() == ["up", "USR1"]


def test_kill_with_and_without_a_signal(cli: Client) -> None:
    cli("run", "-d", "--name", "kk", IMAGE, *TRAPS)
    await_output(cli, "kk", "up")
    for signal in ("USR1", "SIGUSR1", "10"):
        cli("kill", "-s", signal, "kk")
        await_output(cli, "kk", "USR1")
    assert state(cli, "kk")["Running"]
    assert cli.out("kill", "kk") == "kk"
    assert cli.out("wait", "kk") == "137"
    assert "is not running" in cli("kill", "kk", code=1).err
    assert "nosuch" in cli("kill", "-s", "NOSUCH", "kk", code=1).err.lower()


def test_start_attached_passes_everything_on(cli: Client) -> None:
    cli("create", "-i", "--name", "once", IMAGE, "sh", "-c", "cat; echo err >&2; exit 6")
    done = cli("start", "-a", "-i", "once", input="typed", code=6)
    assert (done.out, done.err.splitlines()[0]) == ("typed", "err")
    assert cli("start", "-a", "-i", "once", input="again", code=6).out == "again"


def test_start_of_several_reports_each(cli: Client) -> None:
    cli("create", "--name", "one", IMAGE, *FOREVER)
    cli("create", "--name", "two", IMAGE, *FOREVER)
    done = cli("start", "one", "nosuch", "two", code=1)
    assert done.out.split() == ["one", "two"]
    assert "nosuch" in done.err


def test_starting_twice_is_no_error(cli: Client) -> None:
    cli("run", "-d", "--name", "up", IMAGE, *FOREVER)
    cli("start", "up")
    cli("stop", "-t", "0", "up")
    cli("stop", "-t", "0", "up")


def test_rm_refuses_what_runs(cli: Client) -> None:
    cli("run", "-d", "--name", "busy", IMAGE, *FOREVER)
    done = cli("rm", "busy", code=1)
    assert "busy" in done.err and "force" in done.err
    cli("rm", "-f", "busy")
    assert "nosuch" in cli("rm", "nosuch", code=1).err
    cli("rm", "-f", "nosuch", code=None)


@pytest.mark.parametrize("signal", ["", "KILL", "SIGKILL", "9"])
def test_kill_answers_when_it_has_ended(docker: Client, daemon: Cortend, signal: str) -> None:
    """So the next command finds it ended: it can be removed, and a start is a start. dockerd waits as well."""
    query = f"?signal={signal}" if signal else ""
    docker("create", "--name", "kk", IMAGE, *FOREVER)
    for _ in range(guests.times(daemon, 5, 2)):
        assert daemon.ask("POST", "/containers/kk/start")[0] == 204
        assert daemon.ask("POST", f"/containers/kk/kill{query}")[0] == 204
        shown = daemon.get("/containers/kk/json")["State"]
        assert (shown["Running"], shown["ExitCode"]) == (False, 137)
        assert daemon.ask("POST", "/containers/kk/start")[0] == 204
        assert daemon.get("/containers/kk/json")["State"]["Running"]
        assert daemon.ask("POST", f"/containers/kk/kill{query}")[0] == 204
        assert daemon.ask("DELETE", "/containers/kk")[0] == 204
        docker("create", "--name", "kk", IMAGE, *FOREVER)


def test_pause_holds_every_process(cli: Client) -> None:
    script = "sh -c 'while :; do echo x; sleep 0.01; done' & wait"
    cli("run", "-d", "--name", "pp", IMAGE, "sh", "-c", script)
    await_output(cli, "pp", "x\nx\nx")
    cli("pause", "pp")
    assert state(cli, "pp")["Status"] == "paused"
    before = len(cli.out("logs", "pp"))
    cli("run", "-d", "--name", "qq", IMAGE, "sh", "-c", script)
    await_output(cli, "qq", "x\n" * 20)  # one that is not paused goes on meanwhile
    assert len(cli.out("logs", "pp")) == before
    assert "paused" in cli("exec", "pp", "true", code=1).err
    assert "paused" in cli("pause", "pp", code=1).err
    cli("unpause", "pp")
    assert state(cli, "pp")["Status"] == "running"
    until(lambda: len(cli.out("logs", "pp")) > before)
    assert "not paused" in cli("unpause", "pp", code=1).err
    cli("pause", "pp")
    cli("rm", "-f", "pp")


def test_stop_and_kill_of_a_paused_container(docker: Client) -> None:
    docker("run", "-d", "--name", "pp", IMAGE, *TRAPS)
    await_output(docker, "pp", "up")
    docker("pause", "pp")
    docker("kill", "pp")
    assert docker.out("wait", "pp") == "137"
    docker("start", "pp")
    docker("pause", "pp")
    docker("stop", "-t", "1", "pp")
    assert state(docker, "pp")["Status"] == "exited"


def test_rename(cli: Client) -> None:
    cli("run", "-d", "--name", "before", IMAGE, *FOREVER)
    cli("create", "--name", "taken", IMAGE, "true")
    cli("rename", "before", "after")
    assert cli.out("ps", "--format", "{{.Names}}") == "after"
    assert "taken" in cli("rename", "after", "taken", code=1).err
    assert "before" in cli("inspect", "before", code=1).err
    cli("create", "--name", "before", IMAGE, "true")


def test_wait_for_several(cli: Client) -> None:
    cli("run", "-d", "--name", "w3", IMAGE, "sh", "-c", "exit 3")
    cli("run", "-d", "--name", "w4", IMAGE, "sh", "-c", "sleep 0.2; exit 4")
    assert cli.out("wait", "w3", "w4").split() == ["3", "4"]


def test_wait_for_what_has_removed_itself(every: Client) -> None:
    """Its exit code is kept for a minute, by id and by name."""
    id = every.out("run", "-d", "--rm", "--name", "quick", IMAGE, "sh", "-c", "exit 9")
    until(lambda: every("inspect", id, code=None).code != 0)
    assert every.out("wait", id, "quick", id[:12]).split() == ["9", "9", "9"]
    every("run", "-d", "--name", "other", IMAGE, "true")
    every("rm", "-f", "other")
    assert "other" in every("wait", "other", code=1).err


def test_a_restart_of_what_removes_itself(every: Client) -> None:
    every("run", "-d", "--rm", "--name", "again", "-v", "/data", IMAGE, *FOREVER)
    before = state(every, "again")["Pid"]
    assert every.out("restart", "-t", "0", "again") == "again"
    now = state(every, "again")
    assert now["Running"] and now["Pid"] != before
    every("stop", "-t", "0", "again")
    assert every.out("wait", "again") == "137"
    until(lambda: every.out("ps", "-aq") == every.out("volume", "ls", "-q") == "")  # it goes behind the answers


def test_top(cli: Client) -> None:
    cli("run", "-d", "--name", "tt", IMAGE, "sleep", "12345")
    lines = cli.out("top", "tt").splitlines()
    assert lines[0].split()[:3] == ["UID", "PID", "PPID"]
    assert len(lines) == 2 and lines[1].endswith("sleep 12345")
    assert cli.out("top", "tt", "-o", "pid,args").splitlines()[0].split() == ["PID", "COMMAND"]
    cli("stop", "-t", "0", "tt")
    assert "not running" in cli("top", "tt", code=1).err


def test_port(cli: Client) -> None:
    flags = ["-p", "127.0.0.1::80", "-p", "127.0.0.1::53/udp"]
    cli("run", "-d", "--name", "ports", *flags, IMAGE, *FOREVER)
    lines = cli.out("port", "ports").splitlines()
    assert sorted(line.split(" -> ")[0] for line in lines) == ["53/udp", "80/tcp"]
    assert cli.out("port", "ports", "80").startswith("127.0.0.1:")
    assert cli.out("port", "ports", "80/tcp") == cli.out("port", "ports", "80")
    assert "81" in cli("port", "ports", "81", code=1).err


def test_update_changes_what_runs(cli: Client) -> None:
    cli("run", "-d", "--name", "uu", "-m", "32m", IMAGE, *FOREVER)
    cli("update", "-m", "64m", "--memory-swap", "128m", "--cpu-shares", "512", "--pids-limit", "50", "uu")
    script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.shares pids/pids.max 2>/dev/null"
    seen = cli.out("exec", "uu", "sh", "-c", script).split()
    if not seen:
        pytest.skip("no cgroup v1 memory controller here")
    assert seen == [str(64 << 20), "512", "50"]
    cli("update", "--restart", "on-failure:3", "uu")
    assert cli.out("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", "uu") == "on-failure"
    assert cli("update", "-m", "1k", "uu", code=1).err
    assert "nosuch" in cli("update", "-m", "64m", "nosuch", code=1).err


def test_restart_policies(cli: Client, daemon: Cortend) -> None:
    cli("run", "-d", "--name", "failing", "--restart", "on-failure:2", IMAGE, "sh", "-c", "echo run; exit 5")
    assert cli.out("wait", "failing") == "5"
    until(lambda: status(cli, "failing"), lambda seen: seen == "exited 2")
    assert cli.out("logs", "failing").split() == ["run"] * 3
    cli("run", "-d", "--name", "always", "--restart", "always", IMAGE, "sleep", "0.01")
    until(lambda: int(cli.out("inspect", "-f", "{{.RestartCount}}", "always")) >= 2)
    cli("stop", "always")
    assert cli.out("inspect", "-f", "{{.State.Status}}", "always") == "exited"
    cli("run", "-d", "--name", "good", "--restart", "on-failure", IMAGE, "true")
    cli("wait", "good")
    assert cli.out("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "good") == "exited 0"
    assert "conflicting options" in cli("run", "--rm", "--restart", "always", IMAGE, "true", code=125).err.lower()


def test_a_killed_container_is_restarted(docker: Client, daemon: Cortend) -> None:
    """`docker kill` ends a container for good; a process that is killed from outside is restarted."""
    docker("run", "-d", "--name", "rr", "--restart", "always", IMAGE, *FOREVER)
    pid = docker.out("inspect", "-f", "{{.State.Pid}}", "rr")
    os.kill(int(pid), 9)
    until(lambda: status(docker, "rr"), lambda seen: seen == "running 1")
    docker("kill", "rr")
    docker("wait", "rr")
    assert docker.out("inspect", "-f", "{{.State.Status}}", "rr") == "exited"
