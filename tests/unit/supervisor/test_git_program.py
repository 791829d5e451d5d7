"""How git is run: its settings, its end, its last words; with programs that take its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.errors import Failed, Unavailable, Unsupported
from corten.supervisor import jail
from corten.supervisor.git_program import Git
from e2e_parts.patience import until

Run = Callable[[str], Git]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A Git whose program is this script, "" for none."""
    opened = []
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(jail, "WORK", str(tmp_path))
    path = f"{tmp_path}/bin"
    monkeypatch.setattr(jail, "environment", lambda: {"PATH": path})

    def made(script: str) -> Git:
        if script:
            (tmp_path / "bin/git").write_text(f"#!/bin/sh\nPATH={os.environ['PATH']}\n{script}\n")
            (tmp_path / "bin/git").chmod(0o755)
        said = os.open(tmp_path / "said", os.O_WRONLY | os.O_CREAT, 0o600)
        opened.append(said)
        return Git({"remote.origin.url": "https://host/x"}, {"http_proxy": "http://p"}, False, 2, said)

    yield made
    for fd in opened:
        os.close(fd)


def test_a_machine_without_git(git: Run) -> None:
    with pytest.raises(Unsupported, match="git is not installed on the daemon's machine"):
        git("").run("ls-remote")


def test_settings_are_variables_and_no_arguments(git: Run, tmp_path: Path) -> None:
    said = git('echo "$@"; env').run("status", "-x", repository="/r", tree=str(tmp_path)).decode().splitlines()
    assert said[0] == "status -x"
    env = dict(line.partition("=")[::2] for line in said[1:])
    count = int(env["GIT_CONFIG_COUNT"])
    settings = {env[f"GIT_CONFIG_KEY_{at}"]: env[f"GIT_CONFIG_VALUE_{at}"] for at in range(count)}
    assert settings["core.hooksPath"] == "/dev/null" and settings["remote.origin.url"] == "https://host/x"
    assert env["GIT_ALLOW_PROTOCOL"] == "http:https:git:ssh" and env["GIT_CONFIG_NOSYSTEM"] == "1"
    assert (env["GIT_TERMINAL_PROMPT"], env["GIT_DIR"], env["http_proxy"]) == ("0", "/r", "http://p")
    assert "SSH_AUTH_SOCK" not in env and not {"HOME", "USER"} & env.keys()


def test_one_that_stalls_is_ended_with_what_it_has_begun(git: Run, tmp_path: Path) -> None:
    """What it has begun would go on for longer than any test."""
    with pytest.raises(Unavailable, match=r"git fetch: nothing was heard of the other side for 2s"):
        git(f"sleep 1000 & echo $! > {tmp_path}/pid; wait").run("fetch")
    child = (tmp_path / "pid").read_text().strip()
    until(lambda: has_ended(child))  # it was killed, and is still to die


def has_ended(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_one_that_goes_on_does_not_stall(git: Run, tmp_path: Path) -> None:
    assert git("for i in 1 2 3 4 5; do sleep 0.5; echo $i >&2; done; echo done").run("fetch") == b"done\n"
    assert (tmp_path / "said").read_text() == "1\n2\n3\n4\n5\n"


def test_one_that_says_too_much(git: Run) -> None:
    with pytest.raises(Failed, match="git ls-remote says more than 1000 bytes"):
        git("exec yes").run("ls-remote", most=1000)


def test_messages_without_end(git: Run) -> None:
    """A server's are among them, and each is said to the build's client."""
    with pytest.raises(Failed, match="git fetch has more than 4194304 bytes of messages"):
        git("exec yes remote: words >&2").run("fetch")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("printf 'fatal: \\033[2J\\033]0;x\\007no\\n' >&2; exit 1", "fatal: ?[2J?]0;x?no"),
        ("echo 'remote: Counting objects: 3' >&2; echo 'fatal: no' >&2; exit 128", "fatal: no"),
        ("printf 'x 1%%\\rremote: go away\\nfatal: no\\n' >&2; exit 1", "remote: go away; fatal: no"),
        ("echo 'something else' >&2; exit 3", "something else"),
        ("exit 3", "git failed with status 3"),
        ("kill -9 $$", "git was ended by signal 9"),
    ],
)
def test_last_words(git: Run, script: str, message: str) -> None:
    with pytest.raises(Failed) as failed:
        git(script).run("fetch")
    assert str(failed.value) == message
