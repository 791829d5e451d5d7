"""The unmodified docker client, in each version that this machine has, against our API."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from collections.abc import Callable

import pytest

from e2e_parts.patience import until
from fakes.daemon import Daemon

CLIENTS = [path for path in ("/usr/bin/docker", "/usr/local/bin/docker") if shutil.which(path)]
pytestmark = pytest.mark.skipif(not CLIENTS, reason="no docker client (Debian package docker.io)")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=CLIENTS or ["none"])
def docker(request: pytest.FixtureRequest, daemon: Daemon) -> Run:
    def run(*arguments: str, input: str | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DOCKER_HOST": daemon.address, "DOCKER_CONFIG": str(daemon.root)}
        done = subprocess.run(
            [request.param, *arguments], input=input, capture_output=True, text=True, timeout=30, env=environment
        )
        assert done.returncode == code, (arguments, done)
        return done

    return run


def test_run_separates_streams_and_returns_the_exit_code(docker: Run) -> None:
    done = docker("run", "--rm", "test", "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert docker("ps", "-aq").stdout == ""


def test_run_pipes_input_with_half_close(docker: Run) -> None:
    assert docker("run", "-i", "--rm", "test", "cat", input="x" * 300_000).stdout == "x" * 300_000


def test_programs_that_cannot_start(docker: Run, daemon: Daemon) -> None:
    missing = docker("run", "test", "no-such-program", code=127)
    assert "executable file not found in $PATH" in missing.stderr
    assert '{"message"' not in missing.stderr
    (daemon.root / "data").write_text("no program")
    docker("run", "test", str(daemon.root / "data"), code=126)
    assert "Created" in docker("ps", "-a").stdout


def test_unknown_image_is_pulled(docker: Run) -> None:
    """The 404 of create makes the client pull; that then fails here, as nothing listens at that port."""
    done = docker("run", "127.0.0.1:1/nosuch", code=125)
    assert "Unable to find image '127.0.0.1:1/nosuch:latest' locally" in done.stderr
    assert "connection refused" in done.stderr.lower(), done.stderr


def test_life_of_a_container(docker: Run) -> None:
    docker(
        "run",
        "-d",
        "--name",
        "web",
        "--label",
        "a=b",
        "test",
        "sh",
        "-c",
        "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done",
    )
    until(lambda: docker("logs", "web").stdout)
    assert docker("ps", "--format", "{{.Names}} {{.Image}}").stdout == "web test\n"
    assert docker("inspect", "-f", "{{.State.Status}} {{.Config.Labels.a}}", "web").stdout == "running b\n"
    docker("pause", "web")
    assert "(Paused)" in docker("ps").stdout
    assert "is paused" in docker("exec", "web", "true", code=1).stderr
    docker("unpause", "web")
    docker("rename", "web", "shop")
    assert "container is running" in docker("rm", "shop", code=1).stderr
    docker("stop", "-t", "5", "shop")
    assert docker("wait", "shop").stdout == "5\n"
    docker("start", "shop")
    docker("kill", "shop")
    assert docker("inspect", "-f", "{{.State.ExitCode}}", "shop").stdout == "137\n"
    docker("rm", "shop")
    assert "No such container" in docker("start", "shop", code=1).stderr


def test_name_in_use(docker: Run) -> None:
    docker("create", "--name", "one", "test")
    assert "is already in use by container" in docker("create", "--name", "one", "test", code=1).stderr


def test_exec(docker: Run) -> None:
    docker("run", "-d", "--name", "box", "test", "sleep", "60")
    assert docker("exec", "box", "sh", "-c", "echo $A", code=0).stdout == "\n"
    assert docker("exec", "-e", "A=b", "box", "sh", "-c", "echo $A").stdout == "b\n"
    assert docker("exec", "-i", "box", "cat", input="typed").stdout == "typed"
    done = docker("exec", "box", "sh", "-c", "echo e >&2; exit 9", code=9)
    assert (done.stdout, done.stderr) == ("", "e\n")
    docker("exec", "box", "no-such-program", code=127)
    docker("exec", "-d", "box", "true")


def test_logs(docker: Run) -> None:
    docker(
        "run", "-d", "--name", "talk", "test", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done; echo end >&2"
    )
    assert docker("logs", "-f", "talk").stdout == "1\n2\n3\n"
    assert docker("logs", "--tail", "2", "talk").stdout == "3\n"
    stamped = docker("logs", "-t", "--tail", "1", "talk").stderr
    assert stamped.endswith("Z end\n") and len(stamped) == len("2026-01-01T00:00:00.000000000Z end\n")
    assert docker("logs", "--since", "1h", "talk").stdout == "1\n2\n3\n"
    assert docker("logs", "--until", "1h", "talk").stdout == ""


def test_attach_before_start(docker: Run) -> None:
    docker("create", "-i", "--name", "later", "test", "cat")
    assert docker("start", "-ai", "later", input="hello").stdout == "hello"


def test_restart_policy(docker: Run, daemon: Daemon) -> None:
    async def third_end() -> None:
        seen = 0
        async for event in daemon.engine.events.listen(since=1):
            seen += event["Action"] == "die"
            if seen == 3:
                return

    docker("run", "-d", "--name", "again", "--restart", "on-failure:2", "test", "sh", "-c", "echo try; exit 3")
    daemon.run(third_end())
    assert docker("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "again").stdout == "2 exited\n"
    assert docker("logs", "again").stdout == "try\n" * 3


def test_volumes(docker: Run) -> None:
    docker("volume", "create", "--label", "x=y", "data")
    docker("run", "--name", "user", "-v", "data:/data", "-v", "/anonymous", "test")
    assert "volume is in use" in docker("volume", "rm", "data", code=1).stderr
    assert len(docker("volume", "ls", "-q").stdout.split()) == 2
    docker("rm", "-v", "user")
    assert docker("volume", "ls", "-q").stdout == "data\n"
    docker("volume", "rm", "data")


def test_terminal(daemon: Daemon) -> None:
    """docker run -it: a terminal on both sides."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "DOCKER_HOST": daemon.address, "DOCKER_CONFIG": str(daemon.root)}
    command = [CLIENTS[-1], "run", "-it", "--rm", "test", "sh", "-c", "test -t 0 && read a; echo got $a; exit 4"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    os.write(ours, b"words\n")
    output = b""
    try:
        while piece := os.read(ours, 4096):
            output += piece
    except OSError:
        pass
    os.close(ours)
    assert process.wait(20) == 4
    assert b"got words" in output


def test_top_stats_info_df(docker: Run) -> None:
    docker("run", "-d", "--name", "busy", "test", "sleep", "60")
    assert "sleep 60" in docker("top", "busy").stdout
    assert "PID" in docker("top", "busy", "-o", "pid,args").stdout
    assert "busy" in docker("stats", "--no-stream", "busy").stdout
    assert "Containers: 1" in docker("info").stdout
    assert "Containers" in docker("system", "df").stdout
    docker("update", "--memory", "64m", "--memory-swap", "64m", "--restart", "always", "busy")
    assert docker("inspect", "-f", "{{.HostConfig.Memory}}", "busy").stdout == f"{64 << 20}\n"
    docker("rm", "-f", "busy")
