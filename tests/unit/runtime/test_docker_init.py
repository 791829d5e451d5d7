"""Our init, as a program of its own; where `tini` is there, both are asked the same."""

from __future__ import annotations

import os
import platform
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from corten.runtime import docker_init, docker_init_x86_64

Command = Callable[..., list[str]]
if docker_init.executable(platform.machine()) is None:
    pytest.skip(f"no code for {platform.machine()}", allow_module_level=True)

OURS, TINI = "ours", "tini"
FORWARDED = [n for n in signal.valid_signals() if n not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD,
             signal.SIGTTIN, signal.SIGTTOU)]  # fmt: skip
WAITS = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
print("ready", flush=True)
while True:
    print(int(signal.sigwaitinfo(range(1, 65)).si_signo), flush=True)
"""


@pytest.fixture(params=[OURS, TINI])
def init(request: pytest.FixtureRequest, tmp_path: Path) -> Command:
    """The command line that runs a program under an init."""
    if request.param == TINI:
        if not shutil.which("tini"):
            pytest.skip("no tini to compare with (Debian package tini)")
        return lambda *command: ["tini", "-s", "--", *command]
    return ours(tmp_path)


@pytest.fixture
def own(tmp_path: Path) -> Command:
    return ours(tmp_path)


def ours(directory: Path) -> Command:
    path = docker_init.put(directory)
    return lambda *command: [path, "--", *command]


def run(command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=20, env={**os.environ, **environment})


def instructions(listing: str) -> list[tuple[str, str]]:
    """(bytes, assembly) of each line, without comments; labels and texts have no bytes."""
    found = []
    for line in listing.strip().splitlines():
        text = line.strip()
        digits, _, rest = ("", "", text) if text.endswith(":") or text.startswith(".") else text.partition(" ")
        found.append((digits, rest if rest.startswith(".") else rest.partition("#")[0].strip()))
    return found


def test_the_bytes_are_what_the_assembly_says(tmp_path: Path) -> None:
    """The second source is GNU's assembler: of the text beside the bytes it makes these bytes."""
    if not shutil.which("as") or platform.machine() != "x86_64":
        pytest.skip("no assembler for x86_64 (Debian package binutils)")
    lines = [text for _, text in instructions(docker_init_x86_64.CODE)]
    source, made, listed = tmp_path / "init.s", tmp_path / "init.o", tmp_path / "listing"
    source.write_text("\n".join([".intel_syntax noprefix", *lines, ""]))
    wide = ["--listing-lhs-width=16", "--listing-cont-lines=9"]
    subprocess.run(["as", "--fatal-warnings", f"-aln={listed}", *wide, "-o", made, source], check=True)
    bytes_by_line: dict[int, str] = {}
    for line in listed.read_text().splitlines():
        if found := re.match(r" *(\d+) (?:[0-9a-f]{4})? *((?:[0-9A-F]{2,8}(?: |$))+)", line):
            number = int(found[1]) - 2
            bytes_by_line[number] = bytes_by_line.get(number, "") + found[2].replace(" ", "").lower()
    ours = docker_init.code(docker_init_x86_64.CODE).hex()
    theirs = "".join(bytes_by_line[number] for number in sorted(bytes_by_line))
    assert [(text, bytes_by_line[n]) for n, (digits, text) in enumerate(instructions(docker_init_x86_64.CODE))
            if digits and bytes_by_line[n] != digits] == []  # fmt: skip
    assert ours == theirs


def test_it_is_small_and_its_stack_holds_no_code(tmp_path: Path) -> None:
    content = docker_init.executable("x86_64")
    assert content is not None and len(content) < 1024
    if shutil.which("readelf"):
        path = tmp_path / "docker-init"
        path.write_bytes(content)
        said = run(["readelf", "-W", "-h", "-l", str(path)])
        assert said.stderr == ""
        assert re.search(r"LOAD .* R E +0x1000", said.stdout) and re.search(r"GNU_STACK .* RW +0x10", said.stdout)


def test_a_machine_without_code() -> None:
    assert docker_init.executable("s390x") is None


def test_the_file_is_replaced_as_a_whole_and_only_when_it_is_wrong(tmp_path: Path) -> None:
    path = Path(docker_init.put(tmp_path))
    first = path.stat()
    assert first.st_mode & 0o7777 == 0o755
    docker_init.put(tmp_path)
    assert path.stat().st_ino == first.st_ino
    running = subprocess.Popen([path, "--", "cat"], stdin=subprocess.PIPE)
    try:
        os.link(path, tmp_path / "kept")
        path.unlink()
        path.write_bytes(b"damaged")
        (tmp_path / "docker-init.new").write_bytes(b"of a daemon that was killed")
        docker_init.put(tmp_path)
        assert path.read_bytes() == (tmp_path / "kept").read_bytes() and path.stat().st_mode & 0o7777 == 0o755
        assert sorted(os.listdir(tmp_path)) == ["docker-init", "kept"]
    finally:
        running.communicate(b"", timeout=10)
    assert running.returncode == 0


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "exit 255"], 255),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["sh", "-c", "kill -SEGV $$"], 139),
        (["nosuchprogram"], 127),
        (["/nosuch/program"], 127),
        ([""], 127),
        (["/"], 126),
        (["/etc/passwd"], 126),
    ],
)
def test_exit_codes(init: Command, command: list[str], code: int) -> None:
    done = run(init(*command))
    assert done.returncode == code
    assert bool(done.stderr) == (code in (126, 127))


def test_what_it_says_of_a_program_that_cannot_be_run(own: Command, tmp_path: Path) -> None:
    assert run(own("nosuch")).stderr == "docker-init: nosuch: not found\n"
    assert run(own("/etc/passwd")).stderr == "docker-init: /etc/passwd: permission denied\n"
    (tmp_path / "loop").symlink_to("loop")
    done = run(own(f"{tmp_path}/loop"))
    assert (done.returncode, done.stderr) == (126, f"docker-init: {tmp_path}/loop: cannot be run\n")


@pytest.mark.parametrize("arguments", [[], ["--"], ["-h", "true"], ["--version", "true"], ["true", "true"]])
def test_another_command_line(own: Command, arguments: list[str]) -> None:
    done = run([own()[0], *arguments])
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == "usage: docker-init -- PROGRAM [ARGUMENT...]\n"


def test_where_a_program_is_looked_for(init: Command, tmp_path: Path) -> None:
    for name, mode, text in (("a", 0o644, "exit 1"), ("b", 0o755, "echo b $0 $*"), ("c", 0o755, "exit 1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "program").write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name / "program").chmod(mode)
    places = f"/nosuch:/etc/passwd:{tmp_path}/a:{tmp_path}/{'x' * 200}:{tmp_path}/b/:{tmp_path}/c"
    assert run(init("program", "1", "2"), PATH=f"{places}:/bin:/usr/bin").stdout == f"b {tmp_path}/b//program 1 2\n"
    command = init("program")
    command[0] = shutil.which(command[0]) or command[0]
    assert run(command, PATH=f"{tmp_path}/a").returncode == 126  # it is there, and cannot be run
    assert run(command, PATH="").returncode == 127
    here = subprocess.run(
        command, cwd=tmp_path / "b", env={"PATH": "/nosuch:"}, capture_output=True, text=True, timeout=20
    )
    assert here.stdout in ("b program\n", "b ./program\n")  # an empty directory is the working directory


def test_without_path(init: Command) -> None:
    command = init("true")
    command[0] = shutil.which(command[0]) or command[0]
    assert subprocess.run(command, env={"PAT": "H", "PATHS": "/x"}, timeout=20).returncode == 0


def test_a_path_of_100_kilobytes(own: Command, tmp_path: Path) -> None:
    places = ":".join(f"{tmp_path}/{number:0200}" for number in range(400))
    assert run(own("true"), PATH=f"{places}:/bin:/usr/bin").returncode == 0
    assert run(own("nosuch"), PATH=places).returncode == 127


def test_a_script_without_its_first_line_is_the_shells(init: Command, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('echo "$0" "$@"; exit 3\n')
    script.chmod(0o755)
    for name, environment in ((str(script), {}), ("script", {"PATH": f"{tmp_path}:{os.environ['PATH']}"})):
        done = run(init(name, "a b", ""), **environment)
        assert (done.returncode, done.stdout) == (3, f"{script} a b \n")


def test_every_signal_is_handed_on(own: Command) -> None:
    with subprocess.Popen(own(sys.executable, "-c", WAITS), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            for number in FORWARDED:
                process.send_signal(number)
                assert process.stdout.readline() == f"{int(number)}\n"
            process.send_signal(signal.SIGTTIN)
            process.send_signal(signal.SIGTTOU)
            process.send_signal(signal.SIGUSR1)
            assert process.stdout.readline() == f"{int(signal.SIGUSR1)}\n"  # and those two are not
        finally:
            os.kill(child_of(process.pid), signal.SIGKILL)
        assert process.wait(60) == 137


def child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


@pytest.mark.parametrize("blocked", [set(), {signal.SIGUSR1, signal.SIGTERM}])
def test_the_program_has_the_mask_that_init_was_started_with(init: Command, blocked: set[signal.Signals]) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        done = run(init("grep", "SigBlk", "/proc/self/status"))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    wanted = sum(1 << (number - 1) for number in blocked | before)
    assert int(done.stdout.split()[1], 16) == wanted


def test_orphans_are_waited_for(init: Command) -> None:
    """A process whose parent has ended becomes init's child; once it ends it is gone, rather than a zombie."""
    script = """
        orphan=$( (sleep 0 >/dev/null 2>&1 & echo $!) )
        while kill -0 $orphan 2>/dev/null; do :; done
        (sleep 1000 >/dev/null 2>&1 & echo $! ); read line
    """
    with subprocess.Popen(init("sh", "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        orphan = int(process.stdout.readline())
        try:
            while f"PPid:\t{process.pid}\n" not in Path(f"/proc/{orphan}/status").read_text():
                assert process.poll() is None  # its parent, a shell, is about to end
        finally:
            os.kill(orphan, signal.SIGKILL)
        while Path(f"/proc/{orphan}").exists():
            assert process.poll() is None
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.wait(60) == 0


def test_a_terminal_is_the_programs(init: Command) -> None:
    """Its process group is the foreground one: keys are signals for it, and init lives until it ends."""
    leader, follower = pty.openpty()
    script = "trap 'echo interrupted; exit 9' INT; echo $$ $(ps -o pgid=,tpgid= -p $$); while read line; do :; done"
    process = subprocess.Popen(
        init("sh", "-c", script), stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(follower)
    try:
        said = b""
        while not said.endswith(b"\n"):
            said += os.read(leader, 1000)
        own, group, foreground = said.split()
        assert own == group == foreground and int(own) != process.pid
        while b"interrupted" not in said:
            os.write(leader, b"\x03")  # again: a shell that was about to read goes on to wait for a line
            while select.select([leader], [], [], 1)[0] and b"interrupted" not in said:
                said += os.read(leader, 1000)
        assert process.wait(60) == 9
    finally:
        process.kill()
        process.wait(60)
        os.close(leader)
