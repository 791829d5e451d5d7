"""What config.json changes: proxies, headers, formats, filters of prune; and a file that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corten.cli.userconfig import FORMATS, UserConfig
from unit.cli.scripted import Daemon, reply

Corten = Callable[..., tuple[int, str, str]]
ID = "c" * 64


@pytest.fixture
def configure(daemon: Daemon) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        path = daemon.path.parent / ".docker" / "config.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def environment(daemon: Daemon, corten: Corten, *flags: str) -> list[str]:
    daemon.requests.clear()
    daemon.on("POST /containers/create", reply(201, {"Id": ID, "Warnings": []}))
    daemon.on(f"POST /containers/{ID}/start", reply(204))
    for words in (["create"], ["run", "-d"]):
        assert corten(*words, *flags, "busybox") == (0, ID + "\n", "")
    created, ran = [one.json().get("Env") for one in daemon.requests if one.path == "/containers/create"]
    assert created == ran
    return list(created or [])


def test_proxies_are_a_containers_environment(
    daemon: Daemon, corten: Corten, configure: Callable[[Any], Path], tmp_path: Path
) -> None:
    assert environment(daemon, corten) == []
    configure({"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "lan", "allProxy": ""}}})
    assert environment(daemon, corten) == [
        "HTTP_PROXY=http://p:1",
        "http_proxy=http://p:1",
        "NO_PROXY=lan",
        "no_proxy=lan",
    ]
    (tmp_path / "env").write_text("no_proxy=file\n")
    flags = ["--env-file", str(tmp_path / "env"), "-e", "HTTP_PROXY=mine"]
    expected = ["no_proxy=file", "HTTP_PROXY=mine", "http_proxy=http://p:1", "NO_PROXY=lan"]
    assert environment(daemon, corten, *flags) == expected
    configure({"proxies": {"default": {"httpProxy": "http://p:1"}, daemon.url: {"ftpProxy": "ftp://p"}}})
    assert environment(daemon, corten) == ["FTP_PROXY=ftp://p", "ftp_proxy=ftp://p"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"psFormat": 5}, "psFormat must be a string, not a number"),
        ({"detachKeys": ["a"]}, "detachKeys must be a string, not an array"),
        ({"credsStore": True}, "credsStore must be a string, not a boolean"),
        ({"credHelpers": "pass"}, "credHelpers must be an object, not a string"),
        ({"credHelpers": {"a.lan": {}}}, "credHelpers: a.lan must be a string, not an object"),
        ({"auths": []}, "auths must be an object, not an array"),
        ({"auths": {"a.lan": "x"}}, "auths: a.lan must be an object, not a string"),
        ({"auths": {"a.lan": {"auth": 1.5}}}, "auths: a.lan: auth must be a string, not a number"),
        ({"proxies": "http://p:1"}, "proxies must be an object, not a string"),
        ({"proxies": {"default": "http://p:1"}}, "proxies: default must be an object, not a string"),
        ({"proxies": {"default": {"httpProxy": 1}}}, "proxies: default: httpProxy must be a string, not a number"),
        ({"HttpHeaders": ["x"]}, "HttpHeaders must be an object, not an array"),
        ({"HttpHeaders": {"X": 1}}, "HttpHeaders: X must be a string, not a number"),
        ({"pruneFilters": "label=a"}, "pruneFilters must be an array of name=value"),
        ({"pruneFilters": ["label"]}, "pruneFilters must be an array of name=value"),
        ({"pruneFilters": [1]}, "pruneFilters must be an array of name=value"),
    ],
)
def test_a_field_of_the_wrong_type_is_refused(
    daemon: Daemon, corten: Corten, configure: Callable[[Any], Path], document: Any, words: str
) -> None:
    path = configure(document)
    content = path.read_text()
    assert corten("ps") == (1, "", f"{path}: {words}\n")
    assert corten("run", "busybox") == (125, "", f"corten: {path}: {words}.\nSee 'corten run --help'.\n")
    code, _, err = corten("login", "-u", "u", "-p", "p", "registry.lan")
    assert code == 1 and err.endswith(f"\n{path}: {words}\n")
    assert corten("logout", "registry.lan")[::2] == (1, f"{path}: {words}\n")
    assert not daemon.requests and path.read_text() == content


def test_null_is_nothing_and_other_fields_stay(
    daemon: Daemon, corten: Corten, configure: Callable[[Any], Path]
) -> None:
    keys = (*UserConfig.__slots__, *FORMATS, "detachKeys", "credsStore", "credHelpers", "HttpHeaders", "pruneFilters")
    nothing = dict.fromkeys(keys) | {"plugins": {"a": {"b": 1}}}
    path = configure(nothing)
    daemon.on("POST /auth", reply(200, {"Status": "Login Succeeded"}))
    assert corten("login", "-u", "u", "-p", "p", "registry.lan")[0] == 0
    assert json.loads(path.read_text()) == nothing | {"auths": {"registry.lan": {"auth": "dTpw"}}}
    assert corten("logout", "registry.lan")[0] == 0
    assert json.loads(path.read_text()) == nothing | {"auths": {}}


def test_headers_go_with_every_request(daemon: Daemon, corten: Corten, configure: Callable[[Any], Path]) -> None:
    configure({"HttpHeaders": {"X-Meta": "a b", "User-Agent": "Docker-Client/19.03.8 (linux)"}})
    daemon.on("GET /containers/json", reply(200, []))
    assert corten("ps", "-q")[0] == 0
    assert [(one.path, one.headers["x-meta"]) for one in daemon.requests] == [
        ("/_ping", "a b"),
        ("/containers/json", "a b"),
    ]
    assert all(one.headers["user-agent"].startswith("Corten-Client/") for one in daemon.requests)


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X Y": "a"}, {"Host": "x"}, {"": "x"}])
def test_headers_that_cannot_be_sent_are_refused(
    daemon: Daemon, corten: Corten, configure: Callable[[Any], Path], headers: Any
) -> None:
    path = configure({"HttpHeaders": headers})
    (name,) = headers
    assert corten("ps") == (1, "", f"{path}: HttpHeaders: {name!r} cannot be sent\n") and not daemon.requests


def test_formats_of_listings(daemon: Daemon, corten: Corten, configure: Callable[[Any], Path]) -> None:
    keys = ("psFormat", "imagesFormat", "networksFormat", "volumesFormat", "statsFormat", "secretFormat")
    configure({key: f"{key}: {{{{.ID}}}}{{{{.Name}}}}".replace("{{.ID}}", "") for key in keys[2:]} | {
        "psFormat": "psFormat: {{.Names}}",
        "imagesFormat": "imagesFormat: {{.Tag}}",
    })  # fmt: skip
    daemon.on("GET /containers/json", reply(200, [{"Id": ID, "Names": ["/n"]}]))
    daemon.on("GET /images/json", reply(200, [{"Id": f"sha256:{ID}", "RepoTags": ["n:n"]}]))
    daemon.on("GET /networks", reply(200, [{"Id": ID, "Name": "n"}]))
    daemon.on("GET /volumes", reply(200, {"Volumes": [{"Name": "n"}]}))
    daemon.on("GET /containers/n/stats", reply(200, {"name": "/n", "id": ID}))
    daemon.on("GET /stored-secrets", reply(200, [{"ID": ID, "Name": "n"}]))
    commands = (
        ["ps"], ["images"], ["network", "ls"], ["volume", "ls"], ["stats", "--no-stream", "n"], ["secret", "ls"],
    )  # fmt: skip
    for key, words in zip(keys, commands, strict=True):
        assert corten(*words)[1] == f"{key}: n\n"
        assert corten(*words, "--format", "x")[1] == "x\n", "the flag goes before the file"


def test_filters_of_prune(daemon: Daemon, corten: Corten, configure: Callable[[Any], Path]) -> None:
    configure({"pruneFilters": ["label!=keep", "label=a=1", "until=24h"]})
    for kind in ("containers", "networks", "volumes", "images"):
        daemon.on(f"POST /{kind}/prune", reply(200, {}))
    for kind in ("container", "network", "image"):
        daemon.requests.clear()
        assert corten(kind, "prune", "-f", "--filter", "label!=a=1", "--filter", "label=mine")[0] == 0
        assert filters_of(daemon, f"{kind}s") == {
            "label!": {"a=1": True, "keep": True},
            "label": {"mine": True},
            "until": {"24h": True},
        }


def filters_of(daemon: Daemon, kind: str) -> Any:
    from urllib.parse import parse_qs

    found = json.loads(parse_qs(daemon.request(f"POST /{kind}/prune").query)["filters"][0])
    found.pop("dangling", None)
    return {name: dict.fromkeys(values, True) for name, values in found.items()}


@pytest.mark.parametrize(("content", "words"), [("{", "is not JSON"), ("[]", "is not a JSON object")])
def test_a_file_that_cannot_be_used_is_a_warning_and_is_not_overwritten(
    daemon: Daemon, corten: Corten, configure: Callable[[Any], Path], content: str, words: str
) -> None:
    path = configure(content)
    daemon.on("GET /containers/json", reply(200, []))
    code, _, err = corten("ps")
    assert code == 0 and err.startswith(f"WARNING: {path} {words}") and err.count("\n") == 1
    daemon.on("POST /auth", reply(200, {"Status": "Login Succeeded"}))
    assert corten("login", "-u", "u", "-p", "p", "registry.lan")[0] == 1
    assert path.read_text() == content


def test_a_file_that_cannot_be_read_is_not_an_absent_one(
    daemon: Daemon, corten: Corten, configure: Callable[[Any], Path]
) -> None:
    path = configure({})
    path.unlink()
    path.mkdir()
    daemon.on("GET /containers/json", reply(200, []))
    assert corten("ps")[2] == f"WARNING: {path} cannot be read: Is a directory\n"
