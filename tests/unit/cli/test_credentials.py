"""login, logout, pull: credentials in the file, in helpers, as identity tokens. The helper is a real program."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corten.cli import credentials, helpers
from corten.cli.errors import CommandError
from corten.cli.userconfig import UserConfig
from unit.cli.scripted import Daemon, reply, stream

Corten = Callable[..., tuple[int, str, str]]
HUB = "https://index.docker.io/v1/"
PROGRAM = """#!/bin/sh
# keeps each server's answer in a file of its own
read -r line
name() { printf %s "$1" | tr '/:' '__'; }
echo "$1 $line" >> "$KEEP/calls"
case $1 in
store)
    server=$(printf %s "$line" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/')
    printf %s "$line" > "$KEEP/$(name "$server")" ;;
get) cat "$KEEP/$(name "$line")" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm "$KEEP/$(name "$line")" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
list) echo '{"https://a":"ann"}' ;;
esac
"""


@pytest.fixture
def config(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], Path]:
    """Writes the user's config.json, and answers its path."""
    directory = daemon.path.parent
    (directory / "kept").mkdir()
    for name in ("fake", "other"):
        program = directory / "bin" / f"docker-credential-{name}"
        program.parent.mkdir(exist_ok=True)
        program.write_text(PROGRAM)
        program.chmod(0o755)
    broken = directory / "bin" / "docker-credential-broken"
    broken.write_text("#!/bin/sh\necho the keychain is locked; exit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("KEEP", str(directory / "kept"))
    monkeypatch.delenv("CORTEN_CONFIG", raising=False)

    def write(document: dict[str, Any]) -> Path:
        file = directory / ".docker" / "config.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(document))
        return file

    return write


def sent(daemon: Daemon) -> dict[str, str]:
    """The X-Registry-Auth of the last request."""
    headers = {key.lower(): value for key, value in daemon.requests[-1].headers.items()}
    found: dict[str, str] = json.loads(base64.urlsafe_b64decode(headers["x-registry-auth"]))
    return found


def pull(daemon: Daemon, corten: Corten, name: str) -> dict[str, str]:
    daemon.on("POST /images/create", stream({"status": "done"}))
    assert corten("pull", name)[0] == 0
    return sent(daemon)


def login(daemon: Daemon, corten: Corten, *words: str, token: str = "") -> str:
    daemon.on("POST /auth", reply(200, {"Status": "Login Succeeded", "IdentityToken": token}))
    code, out, err = corten("login", "-u", "ann", "-p", "secret", *words)
    assert (code, out) == (0, "Login Succeeded\n")
    return err


def test_the_file(daemon: Daemon, corten: Corten, config: Any) -> None:
    file = config({"psFormat": "x"})
    assert "stored unencrypted" in login(daemon, corten, "https://reg.example:5000/v2/")
    document = json.loads(file.read_text())
    assert document == {"psFormat": "x", "auths": {"reg.example:5000": {"auth": "YW5uOnNlY3JldA=="}}}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    known = {"username": "ann", "password": "secret", "serveraddress": "reg.example:5000"}
    assert pull(daemon, corten, "reg.example:5000/a") == known
    assert pull(daemon, corten, "reg.example/a") == {}
    assert corten("logout", "reg.example:5000") == (0, "Removing login credentials for reg.example:5000\n", "")
    assert json.loads(file.read_text()) == {"psFormat": "x", "auths": {}}
    assert pull(daemon, corten, "reg.example:5000/a") == {}


def test_identity_tokens(daemon: Daemon, corten: Corten, config: Any) -> None:
    file = config({})
    login(daemon, corten, token="tok")
    assert json.loads(file.read_text())["auths"][HUB] == {"auth": "YW5uOg==", "identitytoken": "tok"}
    assert pull(daemon, corten, "busybox") == {"identitytoken": "tok", "serveraddress": HUB}
    daemon.on("POST /auth", reply(200, {"Status": "Login Succeeded", "IdentityToken": ""}))
    code, out, _ = corten("login")
    assert code == 0 and out.startswith("Authenticating with existing credentials...")
    assert daemon.requests[-1].json()["identitytoken"] == "tok"
    assert json.loads(file.read_text())["auths"][HUB]["identitytoken"] == "tok"


@pytest.mark.parametrize("settings", [{"credsStore": "fake"}, {"credHelpers": {"reg.example": "fake"}}])
def test_a_helper(daemon: Daemon, corten: Corten, config: Any, settings: dict[str, Any]) -> None:
    file = config(settings)
    assert "unencrypted" not in login(daemon, corten, "reg.example")
    assert json.loads(file.read_text()) == {**settings, "auths": {"reg.example": {}}}
    known = {"username": "ann", "password": "secret", "serveraddress": "reg.example"}
    assert pull(daemon, corten, "reg.example/a/b:1") == known
    login(daemon, corten, "reg.example", token="tok")
    assert pull(daemon, corten, "reg.example/a") == {"identitytoken": "tok", "serveraddress": "reg.example"}
    assert corten("logout", "reg.example")[::2] == (0, "")
    assert pull(daemon, corten, "reg.example/a") == {}
    assert json.loads(file.read_text())["auths"] == {}
    assert helpers.servers("fake") == {"https://a": "ann"}


def test_which_one_is_asked() -> None:
    settings = UserConfig({"credsStore": "fake", "credHelpers": {"reg.example": "other", "none.example": ""}})
    assert [credentials.helper_of(settings, name) for name in ("reg.example", HUB, "none.example")] == [
        "other",
        "fake",
        "",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [("broken", "the keychain is locked"), ("absent", "executable file not found"), ("../../x", "no name")],
)
def test_helpers_that_fail(daemon: Daemon, corten: Corten, config: Any, name: str, words: str) -> None:
    config({"credsStore": name})
    daemon.on("POST /images/create", stream({"status": "done"}))
    code, _, err = corten("pull", "reg.example/a")
    assert code == 0 and words in err and "going on without credentials" in err
    assert sent(daemon) == {}
    daemon.on("POST /auth", reply(200, {"Status": "Login Succeeded", "IdentityToken": ""}))
    code, _, err = corten("login", "-u", "ann", "-p", "secret", "reg.example")
    assert code == 1 and words in err
    assert words in corten("logout", "reg.example")[2]


def test_exactly_the_host() -> None:
    """CVE-2021-41092: credentials go to the registry whose they are."""
    entry = {"auth": "YW5uOnNlY3JldA=="}
    document = UserConfig({"auths": {"https://reg.example/v1/": entry, "evil.example/reg.example": {"auth": "eDp5"}}})
    assert credentials.find(document, "reg.example").user == "ann"
    for other in ("reg.example:5000", "g.example", "reg.example.evil", HUB, "example"):
        assert credentials.find(document, other).user == "", other
    with pytest.raises(CommandError, match="cannot be read"):
        credentials.find(UserConfig({"auths": {"a.example": {"auth": "\xff"}}}), "a.example")
