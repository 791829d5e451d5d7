"""Stored secrets: `corten secret`, and `--secret` of a container."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts import census
from e2e_parts.clients import Client, available
from e2e_parts.cortend import IMAGE, Cortend

WORD = "correct-horse-battery"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("k") / "key"
    path.write_bytes(secrets.token_bytes(32))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Iterator[Cortend]:
    daemon = Cortend(tmp_path_factory.mktemp("e"), "--secrets-key-file", str(key))
    try:
        daemon.start()
        daemon.warm_up()
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture
def corten(engine: Cortend) -> Iterator[Client]:
    client = Client("corten", available()["corten"], engine.address, engine.root)
    yield client
    client.close()


def everything_below(root: Path, word: bytes) -> list[Path]:
    """Files on the disk that have it. (What belonged to a container goes behind the answer to its removal.)"""
    paths = (root / name for name in census.below(root))
    return [path for path in paths if path.is_file() and word in census._bytes(path)]


def test_a_secret(corten: Client, engine: Cortend, tmp_path: Path) -> None:
    """In a container as a file in memory, and nowhere else."""
    id = corten.out("secret", "create", "--label", "of=db", "password", input=WORD)
    (tmp_path / "other").write_text("another")
    corten("secret", "create", "other", str(tmp_path / "other"))
    listed = corten.out("secret", "ls", "--format", "{{.ID}} {{.Name}} {{.Labels}}").splitlines()
    assert len(listed) == 2 and listed[1] == f"{id} password of=db"
    assert WORD not in corten.out("secret", "inspect", "password")
    flags = ["--secret", "password", "--secret", "source=other,target=word,uid=7,gid=8,mode=0440"]
    script = "cat /run/secrets/password; stat -c ' %a %u %g' /run/secrets/*;"
    script += "grep -c ' /run/secrets tmpfs ro' /proc/mounts"
    assert corten.out("run", "--rm", *flags, IMAGE, "sh", "-c", script) == f"{WORD} 444 0 0\n 440 7 8\n1"
    corten("run", "-d", "--name", "web", *flags, IMAGE, "sleep", "100000")
    assert WORD not in corten.out("inspect", "web") and "StoredSecrets" in corten.out("inspect", "web")
    assert "Read-only" in corten("exec", "web", "touch", "/run/secrets/password", code=1).err
    assert "in use by container web" in corten("secret", "rm", "password", code=1).err
    corten("restart", "-t", "0", "web")
    assert corten.out("exec", "web", "cat", "/run/secrets/password") == WORD
    corten("commit", "web", "made")
    assert corten.out("run", "--rm", "made", "ls", "/run/secrets") == ""
    assert everything_below(engine.root, WORD.encode()) == []
    corten("rm", "-f", "web")
    corten("secret", "rm", "password", "other")
    assert corten.out("secret", "ls", "-q") == ""


def test_the_next_daemon(corten: Client, engine: Cortend, key: Path) -> None:
    """It has what was stored, with the key alone; what was changed, or stored under another key, is refused."""
    corten("secret", "create", "password", input=WORD)
    corten("secret", "create", "second", input="other")
    corten("run", "-d", "--name", "web", "--restart", "always", "--secret", "password", IMAGE, "sleep", "100000")
    os.kill(engine.pid, signal.SIGKILL)
    engine._process.wait()  # type: ignore[union-attr]
    before = key.read_bytes()
    key.write_bytes(secrets.token_bytes(32))
    engine.start()
    assert corten.out("exec", "web", "cat", "/run/secrets/password") == WORD
    assert "under another key" in corten("restart", "-t", "0", "web", code=1).err
    key.write_bytes(before)
    corten("start", "web")
    assert corten.out("exec", "web", "cat", "/run/secrets/password") == WORD
    key.chmod(0o644)
    assert "chmod 600" in corten("secret", "create", "third", input="x", code=1).err
    key.rename(f"{key}.away")
    assert "cannot read the key" in corten("secret", "create", "third", input="x", code=1).err
    Path(f"{key}.away").rename(key)
    key.chmod(0o600)
    corten("rm", "-f", "web")
    corten("secret", "rm", "password", "second")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("secret", "create", "-x"), "unknown shorthand flag"),
        (("secret", "create", "a b"), "invalid name of a secret"),
        (("secret", "create", "empty"), "1 to 512000 bytes"),
        (("secret", "inspect", "nosuch"), "No such secret: nosuch"),
        (("secret", "rm", "nosuch"), "No such secret: nosuch"),
        (("create", "--secret", "nosuch", IMAGE), "No such secret: nosuch"),
        (("create", "--secret", "source=a,target=../b", IMAGE), "no name of a file in /run/secrets"),
        (("create", "--secret", "source=a,mode=9", IMAGE), "octal digits"),
        (("create", "--secret", "source=a,size=9", IMAGE), "invalid field 'size=9'"),
    ],
)
def test_what_is_refused(corten: Client, arguments: tuple[str, ...], words: str) -> None:
    done = corten(*arguments, input="", code=None)
    assert done.code != 0 and words in done.err, done


def test_without_a_key(docker: Client, daemon: Cortend) -> None:
    corten = Client("corten", available()["corten"], daemon.address, daemon.root)
    assert "secrets-key-file" in corten("secret", "create", "password", input=WORD, code=1).err
    corten.close()


def test_external_secrets_of_a_compose_file(corten: Client, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        f"""
        services:
          a:
            image: {IMAGE}
            command: sh -c 'cat /run/secrets/*; stat -c %a%u /run/secrets/*'
            secrets: [one, {{source: two, target: word, uid: "5", mode: 0400}}]
        secrets: {{one: {{external: true, name: kept}}, two: {{external: true}}}}
        """
    )
    compose = ("compose", "-p", "kept", "-f", str(tmp_path / "compose.yaml"))
    corten("secret", "create", "kept", input=WORD)
    refused = corten(*compose, "up", "-d", code=1).err
    assert f"{tmp_path}/compose.yaml:6: unsupported external secret two" in refused
    assert "corten secret create two" in refused
    assert corten.out("ps", "-aq", "--filter", "label=com.docker.compose.project=kept") == ""
    corten("secret", "create", "two", input="another")
    corten(*compose, "up", "--no-log-prefix")
    assert corten(*compose, "logs", "--no-log-prefix").out.split() == [f"{WORD}another4440", "4005"]
    corten(*compose, "down")
    corten("secret", "rm", "kept", "two")
