"""`--init`: our own init process, in every kind of container."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from corten import __version__
from corten.runtime import docker_init
from e2e_parts.clients import CORTEN, Client, execute
from e2e_parts.cortend import CORTEND, IMAGE, Cortend
from e2e_parts.others import need
from e2e_parts.patience import until

pytestmark = pytest.mark.skipif(
    docker_init.executable(os.uname().machine) is None, reason=f"no init of our own for {os.uname().machine}"
)
FIRST = "cat /proc/1/comm; tr '\\0' ' ' </proc/1/cmdline; exit 3"
HOW = {
    "plain": (),
    "user": ("-u", "1000:1000"),
    "read-only": ("--read-only",),
    "without capabilities": ("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    "privileged": ("--privileged",),
    "little memory": ("-m", "6m", "--pids-limit", "4"),
    "terminal": ("-t",),
}


@pytest.mark.parametrize("how", HOW)
def test_it_is_the_first_process(cli: Client, how: str) -> None:
    done = cli("run", "--rm", "--init", *HOW[how], IMAGE, "sh", "-c", FIRST, code=3)
    assert done.out.splitlines() == ["docker-init", f"/sbin/docker-init -- sh -c {FIRST} "]


def test_no_zombies_are_left(cli: Client) -> None:
    script = """
        for one in 1 2 3 4 5 6 7 8 9 10 11 12; do (true &); done
        set -- /proc/[0-9]*; while [ $# -gt 2 ]; do set -- /proc/[0-9]*; done
        ps -o pid,ppid,stat,comm
    """
    processes = cli.out("run", "--rm", "--init", IMAGE, "sh", "-c", script).splitlines()
    assert processes[1].split()[0::3] == ["1", "docker-init"], processes
    assert not [line for line in processes if line.split()[2].startswith("Z")]


def test_signals_and_exit_codes(cli: Client) -> None:
    id = cli.out("run", "-d", "--init", IMAGE, "sleep", "1000")  # sleep as process 1 would not end of SIGTERM
    until(lambda: len(cli.out("top", id).splitlines()) == 3)  # it takes signals before it starts the program
    cli("stop", "-t", "9", id)
    assert cli.out("inspect", "-f", "{{.State.ExitCode}}", id) == "143"
    script = "trap 'exit 42' ABRT USR1; echo up; while :; do sleep 0.01; done"
    for name in ("ABRT", "USR1"):
        id = cli.out("run", "-d", "--init", IMAGE, "sh", "-c", script)
        while cli.out("logs", id) != "up":
            pass
        cli("kill", "-s", name, id)
        assert cli.out("wait", id) == "42"
    assert cli("run", "--rm", "--init", IMAGE, "sh", "-c", "kill -KILL $$", code=137).out == ""


def test_programs_that_cannot_be_run(cli: Client) -> None:
    done = cli("run", "--rm", "--init", IMAGE, "nosuch", code=127)
    assert "docker-init: nosuch: not found" in done.err
    done = cli("run", "--rm", "--init", IMAGE, "/etc", code=126)
    assert "docker-init: /etc: permission denied" in done.err


def test_none_where_the_processes_are_another_s(cli: Client) -> None:
    """As dockerd: only a container with processes of its own gets one."""
    script = "cat /proc/$$/stat | cut -d ' ' -f 2; ls /sbin/docker-init"
    assert "docker-init" not in cli("run", "--rm", "--init", "--pid", "host", IMAGE, "sh", "-c", script, code=1).out


def test_info_names_it(daemon: Cortend, nothing_left: None) -> None:
    info = daemon.get("/info")
    assert info["InitBinary"] == "docker-init" and info["InitCommit"]["ID"] == f"corten {__version__}"
    assert info["RuncCommit"]["ID"] == f"corten {__version__}" and info["ContainerdCommit"]["ID"] == "N/A"


@pytest.mark.parametrize("place", ["own", "noexec"])
def test_another_init_and_a_data_root_that_nothing_is_run_from(tmp_path: Path, place: str) -> None:
    """`init-path` goes before ours; and ours works where the data root is mounted noexec."""
    need("tini", "tini-static", "runc", "unshare")
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    root.chmod(0o755)
    (root / "d").mkdir()
    if place == "own":
        runtime = ("--add-runtime", f"theirs={shutil.which('runc')}", "--default-runtime", "theirs")
        daemon = Cortend(root, "--init-path", shutil.which("tini-static") or "", *runtime)
    else:
        script = f'mount -t tmpfs -o noexec tmpfs {root}/d && exec "$@"'
        daemon = Cortend(root, program=["unshare", "-m", "sh", "-c", script, "sh", str(CORTEND)])
    try:
        daemon.start()
        client = Client("corten", CORTEN, daemon.address, root)
        said = client("run", "--rm", "--init", IMAGE, "sh", "-c", "wc -c </sbin/docker-init", code=None)
        ours = docker_init.executable(os.uname().machine)
        assert ours is not None and said.code == 0, said
        assert (int(said.out) == len(ours)) == (place == "noexec")
        if place == "own":
            for key, program in (("InitCommit", "tini-static"), ("RuncCommit", "runc")):
                version = daemon.get("/info")[key]["ID"]
                assert version and version in execute([program, "--version"]).out
        client.close()
    finally:
        daemon.stop()
        shutil.rmtree(root, ignore_errors=True)
