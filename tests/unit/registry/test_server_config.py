"""The configuration file: what it says, and one clear line for what it cannot say."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import Invalid
from corten.registry.server.config import access, from_file
from corten.registry.server.sections import duration, size
from registry_parts.own import SECRET

WHOLE = """
listen = "0.0.0.0:5443"
root = "data"
htpasswd = "users"
anonymous_read = true

[tls]
certificate = "c.pem"
key = "/k.pem"

[groups]
team = ["ann", "bob"]

[tokens]
lifetime = "10m"
service = "registry.example"

[[allow]]
users = "@team"
repositories = ["team/**", "base"]
rights = ["read", "write"]
"""


def test_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(WHOLE)
    (tmp_path / "users").write_text(f"ann:{SECRET}\n")
    (tmp_path / "data").mkdir()
    config = from_file(tmp_path / "c.toml")
    assert config.address == ("0.0.0.0", 5443) and config.root == tmp_path / "data"
    assert (config.certificate, config.key) == (tmp_path / "c.pem", Path("/k.pem"))
    made = access(config)
    assert made.tokens is not None and (made.tokens.lifetime, made.tokens.service) == (600, "registry.example")
    assert made.rights.of("ann", "team/x") == {"read", "write"}
    assert made.rights.of("ann", "else") == {"read"} == made.rights.of("", "team/x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lisen = 'x'", "lisen is not known here"),
        ("listen = 5", "listen has to be a text"),
        ("anonymous_read = 1", "anonymous_read has to be true or false"),
        ("[tokens]\nlifetime = 'soon'", "tokens.lifetime is 'soon'; want a number and one of"),
        ("[tokens]\nlifetime = '5s'", "a minute or more"),
        ("[[quota]]\nprefix = 'a'", "bytes is missing"),
        ("[[webhook]]\nurl = 'http://['", "want an http:// or https:// URL"),
        ("[[webhook]]\nurl = 'http://x'\nheaders = {'X y' = '1'}", "webhook.headers: 'X y' is no header"),
        ("[[webhook]]\nurl = 'http://x'\nheaders = {X = \"1\\n2\"}", "control characters"),
        ("[[upstream]]\nurl = 'http://x'\n[[upstream]]\nurl = 'http://y'", "two upstreams with the prefix ''"),
        ("[tls]\ncert = 'x'", "tls.cert is not known"),
        ("[allow]\nusers = 'x'", "allow has to be a list of tables"),
        ("[[allow]]\nusers = 5", r"allow\[0\].users has to be a list of texts"),
        ("[[allow]]\nusers = 'a'\nrights = ['fly']", "unknown right 'fly'"),
        ("[[allow]]\nrepositories = ['A b']", "no pattern"),
        ("x = ", "Invalid value"),
    ],
)
def test_what_it_cannot_say(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(Invalid, match=said) as caught:
        from_file(tmp_path / "c.toml")
    assert str(caught.value).startswith(str(tmp_path / "c.toml")) and "\n" not in str(caught.value)


def test_durations_and_sizes() -> None:
    assert [duration(each) for each in ("0", "90s", "10m", "24h", "7d", "2w")] == [0, 90, 600, 86400, 604800, 1209600]
    assert [size(each) for each in ("5", "10k", "20GB", "1TiB", "3 mb")] == [5, 10240, 20 << 30, 1 << 40, 3 << 20]
    for bad in ("", "x", "-1s", "h", "1y"):
        with pytest.raises(Invalid):
            duration(bad)
        with pytest.raises(Invalid):
            size(bad)
