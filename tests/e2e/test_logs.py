"""logs, and output that is too much, too long or not read."""

from __future__ import annotations

import json
import socket
import struct

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.http import hijack
from e2e_parts.patience import PATIENCE, until


def test_logs(every: Client) -> None:
    every("run", "--name", "said", IMAGE, "sh", "-c", "echo one; echo two >&2; printf three")
    done = every("logs", "said")
    assert (done.out, done.err) == ("one\nthree", "two\n")
    assert every("logs", "-n", "1", "said").out == "three"
    assert every("logs", "--tail", "0", "said").out == ""
    stamped = every("logs", "-t", "said").out.splitlines()
    assert len(stamped) == 2 and stamped[0].endswith("Z one") and stamped[0][:2] == "20"


def test_logs_of_a_time(cli: Client) -> None:
    cli("run", "-d", "-i", "--name", "timed", IMAGE, "sh", "-c", "echo early; read word; echo late")
    until(lambda: cli.out("logs", "timed"))
    cli("attach", "timed", input="on\n")
    cli("wait", "timed")
    stamps = [line.split()[0] for line in cli.out("logs", "-t", "timed").splitlines()]
    assert cli("logs", "--since", stamps[1], "timed").out == "late\n"
    assert cli("logs", "--until", stamps[0], "timed").out == "early\n"
    assert cli("logs", "--since", "10m", "timed").out == "early\nlate\n"
    assert cli("logs", "--until", "10m", "timed").out == ""


def test_logs_follow_ends_with_the_container(cli: Client) -> None:
    cli("run", "-d", "--name", "talk", IMAGE, "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done; echo end >&2")
    done = cli("logs", "-f", "talk")
    assert (done.out, done.err) == ("1\n2\n3\n", "end\n")
    assert cli("logs", "-f", "-n", "1", "talk").out == ""  # the last line is the one of stderr


def test_logs_follow_goes_on_over_a_restart(docker: Client) -> None:
    docker("run", "-d", "--name", "again", IMAGE, "sh", "-c", "echo run; sleep 1000")
    process = docker.popen("logs", "-f", "again")
    assert process.stdout is not None and process.stdout.readline() == b"run\n"
    docker("stop", "-t", "0", "again")
    assert process.wait(PATIENCE) == 0
    docker("start", "again")
    until(lambda: docker("logs", "again").out, lambda log: log == "run\nrun\n")


def test_logs_have_what_was_written_before(docker: Client) -> None:
    """The program that writes has ended, so what it wrote is in the pipe: `logs` does not come before it."""
    docker("run", "-d", "--name", "written", IMAGE, "sleep", "1000")
    for number in range(20):
        docker("exec", "written", "sh", "-c", f"echo {number} >/proc/1/fd/1")
        assert docker("logs", "--tail", "1", "written").out == f"{number}\n"


def test_logs_of_nothing(cli: Client) -> None:
    assert "nosuch" in cli("logs", "nosuch", code=1).err
    cli("create", "--name", "quiet", IMAGE, "true")
    assert cli("logs", "quiet").out == ""
    cli("run", "--name", "none", "--log-driver", "none", IMAGE, "echo", "x")
    assert "does not support reading" in cli("logs", "none", code=1).err


def test_log_drivers(cli: Client) -> None:
    """local does not show where it keeps the log; what only Docker has is refused by name."""
    cli("run", "--name", "local", "--log-driver", "local", "--log-opt", "max-size=64k", IMAGE, "seq", "1", "40000")
    lines = cli.out("logs", "local").splitlines()
    assert lines[-1] == "40000" and 3_000 < len(lines) < 6_000  # five files of 64 KiB
    assert cli.out("inspect", "-f", "{{.LogPath}}", "local") == ""
    for driver in ("syslog", "journald", "fluentd"):
        refused = cli("run", "--log-driver", driver, IMAGE, "true", code=125)
        assert f"log driver {driver} is not supported: json-file, local and none are" in refused.err


def test_the_file_is_dockers_json(docker: Client) -> None:
    docker("run", "--name", "file", "--log-opt", "labels=a", "-l", "a=1", IMAGE, "sh", "-c", "echo 'ä\"\\'; echo e >&2")
    path = docker.out("inspect", "-f", "{{.LogPath}}", "file")
    with open(path) as file:
        records = [json.loads(line) for line in file]
    assert sorted((record["stream"], record["log"]) for record in records) == [("stderr", "e\n"), ("stdout", 'ä"\\\n')]
    assert records[0]["attrs"] == {"a": "1"} and records[0]["time"].endswith("Z")


def test_rotation(docker: Client) -> None:
    limits = ["--log-opt", "max-size=64k", "--log-opt", "max-file=2"]
    docker("run", "--name", "wheel", *limits, IMAGE, "sh", "-c", "seq 1 20000")
    lines = docker.out("logs", "wheel").splitlines()
    assert lines[-1] == "20000" and 500 < len(lines) < 20000
    assert lines == [str(number) for number in range(int(lines[0]), 20001)]


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_following_over_rotations_of_one_file(docker: Client, driver: str) -> None:
    """Every line comes, though the one file is full after some ten of them: it is read as quickly as it is written."""
    limits = ["--log-driver", driver, "--log-opt", "max-size=1k", "--log-opt", "max-file=1"]
    docker("create", "-i", "--name", f"one-{driver}", *limits, IMAGE, "cat")
    running = docker.popen("start", "-ai", f"one-{driver}")
    assert running.stdin is not None
    following = None
    for first in range(0, 200, 5):
        lines = [b"%d\n" % number for number in range(first, first + 5)]
        running.stdin.write(b"".join(lines))
        running.stdin.flush()
        if following is None:
            until(lambda: docker.out("logs", f"one-{driver}"))
            following = docker.popen("logs", "-f", f"one-{driver}")
        assert following.stdout is not None
        assert [following.stdout.readline() for _ in lines] == lines
    running.stdin.close()
    running.stdin = None
    assert following is not None and following.stdout is not None and following.stdout.read() == b""


def test_a_line_of_a_gigabyte(docker: Client) -> None:
    """Without a newline: it is kept in pieces, no process's memory grows with it, and it is read back whole. 10 s."""
    size = 1 << 30
    script = f"head -c {size} /dev/zero | tr '\\0' x"
    docker("run", "-d", "--name", "long", "--log-opt", "max-size=-1", IMAGE, "sh", "-c", script)
    assert docker("wait", "long", timeout=300).out.strip() == "0"
    process = docker.popen("logs", "long")
    assert process.stdout is not None
    count = 0
    while piece := process.stdout.read(1 << 20):
        count += len(piece)
        assert not piece.strip(b"x")
    assert count == size


def test_a_client_that_never_reads_blocks_no_other(docker: Client, daemon: Cortend) -> None:
    docker("create", "--name", "loud", IMAGE, "sh", "-c", "head -c 30000000 /dev/zero | tr '\\0' x; echo; echo end")
    with hijack(daemon.socket, "/containers/loud/attach?stream=1&stdout=1&stderr=1") as unread:
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        docker("start", "loud")
        assert docker("wait", "loud").out == "0\n"
        # and what was not read is still there for the reading
        total = 0
        while head := _exactly(unread, 8):
            length = struct.unpack(">I", head[4:])[0]
            assert len(_exactly(unread, length)) == length
            total += length
        assert total == 30000000 + 1 + 4


def _exactly(sock: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length and (piece := sock.recv(length - len(data))):
        data += piece
    return data
