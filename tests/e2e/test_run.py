"""`run`: streams, exit codes, and the flags about the program itself, seen from inside the container."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e_parts import guests
from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.patience import PATIENCE


def test_streams_are_apart_and_the_exit_code_is_the_programs(every: Client) -> None:
    done = every("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    assert (done.out, done.err) == ("out\n", "err\n")
    assert every.out("ps", "-aq") == ""


def test_input_is_passed_on_and_ends_with_half_close(every: Client) -> None:
    """The program sees the end of its input, and what it then says still arrives."""
    text = "x" * 1_000_000
    done = every("run", "--rm", "-i", IMAGE, "sh", "-c", "wc -c; echo late; cat /dev/null", input=text)
    assert done.out.split() == ["1000000", "late"]
    assert every("run", "--rm", "-i", IMAGE, "cat", input=text).out == text


def test_output_that_ends_before_the_input(cli: Client) -> None:
    """A program that closes its output, reads on, and then exits with a code that depends on what it got."""
    script = "exec >&- 2>&-; n=$(wc -c); test $n = 5 && exit 9; exit 1"
    cli("run", "--rm", "-i", IMAGE, "sh", "-c", script, input="12345", code=9)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["sh", "-c", "exit 0"], 0),
        (["sh", "-c", "exit 255"], 255),
        (["sh", "-c", "kill -TERM $$"], 128 + 15),
        (["sh", "-c", "kill -KILL $$"], 0),  # pid 1 cannot kill itself
        (["no-such-program"], 127),
        (["/no/such/program"], 127),
        (["/etc"], 126),
        (["/etc/passwd"], 126),
    ],
)
def test_exit_codes(cli: Client, words: list[str], code: int) -> None:
    if words[-1] == "kill -TERM $$":
        words = ["sh", "-c", "sh -c 'kill -TERM $$'; exit $?"]
    done = cli("run", "--rm", IMAGE, *words, code=code)
    if code in (126, 127):
        assert ("executable file not found" in done.err or "no such file" in done.err) == (code == 127), done.err
        assert len(done.err.strip().splitlines()[0]) < 300


def test_a_directory_is_no_program(every: Client) -> None:
    done = every("run", "--rm", IMAGE, "/etc", code=126)
    assert 'exec: "/etc": permission denied: is a directory' in done.err


def test_a_program_that_cannot_start_leaves_a_created_container(cli: Client) -> None:
    cli("run", "--name", "broken", IMAGE, "no-such-program", code=127)
    state = json.loads(cli.out("inspect", "--format", "{{json .State}}", "broken"))
    assert (state["Status"], state["ExitCode"]) == ("created", 127)
    assert "no-such-program" in state["Error"]


def test_flags_that_are_refused(cli: Client) -> None:
    for words in (["--no-such-flag"], ["-m", "much"], ["-p", "x:y:z:1"], ["--env-file", "/no/such/file"]):
        done = cli("run", *words, IMAGE, "true", code=125)
        assert done.err and done.out == "", words


def test_detached_prints_the_id(every: Client) -> None:
    id = every.out("run", "-d", "--name", "back", IMAGE, "sleep", "100")
    assert len(id) == 64
    assert every.out("ps", "-q", "--no-trunc") == id
    assert every.out("rm", "-f", "back") == "back"


def test_environment(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nFROM_FILE=a b  c\n\nHOME\nNOT_SET_HERE\n")
    flags = ["-e", "A=1=2", "-e", "EMPTY=", "--env-file", str(tmp_path / "env"), "-h", "box"]
    lines = cli.out("run", "--rm", *flags, IMAGE, "env").splitlines()
    assert {"A=1=2", "EMPTY=", "FROM_FILE=a b  c", "HOSTNAME=box"} < set(lines)
    assert not [line for line in lines if line.startswith("NOT_SET_HERE")]
    assert any(line.startswith("PATH=/usr/local/sbin:") for line in lines)


def test_user_directory_hostname_groups(cli: Client) -> None:
    flags = ["-u", "1000:1001", "-w", "/new/dir", "-h", "host.example", "--group-add", "7", "--group-add", "tty"]
    script = "id -u; id -g; id -G; pwd; hostname; cat /proc/1/oom_score_adj"
    done = cli.out("run", "--rm", *flags, "--oom-score-adj", "321", IMAGE, "sh", "-c", script).splitlines()
    assert (done[0], done[1], done[3], done[4], done[5]) == ("1000", "1001", "/new/dir", "host.example", "321")
    assert {"1001", "7"} <= set(done[2].split())


@pytest.mark.parametrize("name", ["runc", "io.containerd.runc.v2", "corten"])
def test_the_runtime_by_dockerd_s_names(cli: Client, name: str) -> None:
    id = cli.out("create", "--runtime", name, IMAGE, "echo", "ran")
    assert cli.out("start", "-a", id) == "ran"
    assert cli.out("inspect", "-f", "{{.HostConfig.Runtime}}", id) == name


@pytest.mark.parametrize(("flags", "home"), [(["-u", "0"], "/root"), (["-u", "4711"], "/")])
def test_an_empty_home_is_the_user_s(cli: Client, flags: list[str], home: str) -> None:
    assert cli.out("run", "--rm", "-e", "HOME=", *flags, IMAGE, "sh", "-c", "echo $HOME") == home
    assert cli.out("run", "--rm", "-e", "HOME=/x", *flags, IMAGE, "sh", "-c", "echo $HOME") == "/x"
    id = cli.out("run", "-d", *flags, IMAGE, "sleep", "100")
    assert cli.out("exec", "-e", "HOME=", id, "sh", "-c", "echo $HOME") == home


def test_the_working_directory_is_made_by_create(cli: Client, tmp_path: Path) -> None:
    id = cli.out("create", "-w", "//new/./x/../dir/", IMAGE, "pwd")
    assert cli.out("inspect", "-f", "{{.Config.WorkingDir}}", id) == "/new/dir"
    assert cli.out("diff", id).splitlines() == ["A /new", "A /new/dir"]
    cli("cp", f"{id}:/new", str(tmp_path))
    for directory in (tmp_path / "new", tmp_path / "new/dir"):
        assert directory.stat().st_mode & 0o7777 == 0o755
    assert cli.out("start", "-a", id) == "/new/dir"


def test_a_working_directory_that_is_there_is_left_alone(cli: Client) -> None:
    for place in ("/tmp", "/etc/../tmp", "/"):
        id = cli.out("create", "-w", place, IMAGE, "pwd")
        assert cli.out("diff", id) == ""
    done = cli("create", "-w", "/bin/busybox/x", IMAGE, "pwd", code=1)
    assert "cannot make the directory /bin/busybox/x: something else is in its place" in done.err
    done = cli("create", "-w", "/" + "x" * 256, IMAGE, "pwd", code=1)
    assert "File name too long" in done.err
    assert cli.out("ps", "-aq") != ""  # those before


def test_users_that_are_not_there(cli: Client) -> None:
    done = cli("run", "--rm", "-u", "nosuchuser", IMAGE, "true", code=None)
    assert done.code in (125, 126) and "nosuchuser" in done.err
    done = cli("run", "--rm", "-u", "0:nosuchgroup", IMAGE, "true", code=None)
    assert done.code in (125, 126) and "nosuchgroup" in done.err


def test_entrypoint(cli: Client) -> None:
    assert cli.out("run", "--rm", "--entrypoint", "echo", IMAGE, "a", "b") == "a b"
    assert cli.out("run", "--rm", "--entrypoint", "/bin/echo", IMAGE) == ""


def test_labels_annotations_and_name(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("from=file\n")
    flags = ["--name", "tagged", "-l", "a=1", "--label", "b", "--label-file", str(tmp_path / "labels")]
    cli("create", *flags, IMAGE, "true")
    labels = json.loads(cli.out("inspect", "-f", "{{json .Config.Labels}}", "tagged"))
    assert labels == {"a": "1", "b": "", "from": "file"}


def test_cidfile(cli: Client, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    id = cli.out("run", "-d", "--cidfile", str(file), IMAGE, "sleep", "100")
    assert file.read_text() == id
    done = cli("run", "--cidfile", str(file), IMAGE, "true", code=125)
    assert str(file) in done.err
    assert cli.out("ps", "-aq", "--no-trunc") == id


def test_pull_policy_and_platform(cli: Client) -> None:
    cli("run", "--rm", "--pull", "never", IMAGE, "true")
    done = cli("run", "--rm", "--pull", "never", "nosuch:1", "true", code=125)
    assert "nosuch:1" in done.err
    done = cli("run", "--rm", "--platform", "linux/s390x", "--pull", "never", IMAGE, "true", code=125)
    assert "s390x" in done.err


def test_removed_when_its_client_is_killed(cli: Client, daemon: Cortend) -> None:
    """--rm is the daemon's business."""
    process = cli.popen("run", "--rm", "--name", "detached", IMAGE, "sh", "-c", "echo up; sleep 0.5")
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    cli.close()
    with daemon.connection() as http:
        http.ask("POST", "/containers/detached/wait?condition=removed")
    assert daemon.containers() == []


def test_signals_are_passed_on(cli: Client) -> None:
    script = "trap 'echo got; exit 5' USR1; echo up; while :; do sleep 0.05; done"
    process = cli.popen("run", "--rm", IMAGE, "sh", "-c", script)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    process.send_signal(10)
    assert process.stdout.readline() == b"got\n"
    assert process.wait(PATIENCE) == 5


def test_signals_are_not_passed_on_without_sig_proxy(corten: Client) -> None:
    """(docker's client then waits for the container.)"""
    process = corten.popen("run", "--sig-proxy=false", "--name", "calm", IMAGE, "sh", "-c", "echo up; sleep 100")
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    process.send_signal(15)
    process.wait(PATIENCE)
    assert corten.out("inspect", "-f", "{{.State.Status}}", "calm") == "running"


def test_nothing_is_lost_when_many_run(cli: Client, daemon: Cortend) -> None:
    """A quick program's whole output, and its exit code, also when eight are started at a time."""
    numbers = range(guests.times(daemon, 8, 4))
    for _ in range(guests.times(daemon, 5, 1)):
        processes = [cli.popen("run", "--rm", IMAGE, "sh", "-c", f"echo {number}; exit {number}") for number in numbers]
        assert [process.stdout.read() for process in processes if process.stdout] == [b"%d\n" % n for n in numbers]
        assert [process.wait(PATIENCE) for process in processes] == [*numbers]


def test_timing_is_a_table(corten: Client) -> None:
    done = corten("run", "--rm", "--timing", IMAGE, "true")
    assert "start" in done.err + done.out and "ms" in done.err + done.out
