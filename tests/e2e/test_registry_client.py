"""search, distribution, whole indexes and credential helpers, with the docker client and ours and a real registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.others import need
from registry_parts.own import own_process


@pytest.fixture
def host(debians: str) -> str:
    return debians


@pytest.fixture
def pushed(docker: Client, host: str) -> Iterator[str]:
    """An image in the registry that is not here."""
    name = f"{host}/team/app:1"
    docker("tag", IMAGE, name)
    docker("push", name)
    docker("rmi", name)
    yield name
    docker("rmi", name, code=None)


def test_search(cli: Client, host: str, pushed: str) -> None:
    lines = cli.out("search", f"{host}/app").splitlines()
    assert lines[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert lines[1].split() == [f"{host}/team/app", "0"]
    assert cli.out("search", "--format", "{{.Name}}", "--limit", "1", f"{host}/") == f"{host}/team/app"
    assert cli.out("search", "-f", "stars=1", "--format", "{{.Name}}", f"{host}/app") == ""
    assert "should not have a scheme" in cli("search", "https://x/y", code=1).err
    assert "outside the range" in cli("search", "--limit", "101", "x", code=1).err


def test_distribution(daemon: Cortend, docker: Client, pushed: str) -> None:
    found = daemon.get(f"/distribution/{pushed}/json")
    docker("pull", pushed)
    digests = daemon.get(f"/images/{pushed}/json")["RepoDigests"]
    assert f"{pushed.rpartition(':')[0]}@{found['Descriptor']['digest']}" in digests
    assert found["Platforms"][0]["os"] == "linux"
    assert daemon.ask("GET", f"/distribution/{pushed}2/json")[0] == 404
    assert daemon.ask("GET", "/distribution/UPPER/json")[0] == 400


def test_an_index_comes_and_goes_whole(daemon: Cortend, docker: Client, host: str, pushed: str) -> None:
    """skopeo says whether what was pushed is what was pulled, to the last platform."""
    need("skopeo")
    manifest = execute(["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{pushed}"]).out
    kind = json.loads(manifest)["mediaType"]
    digest = daemon.get(f"/distribution/{pushed}/json")["Descriptor"]["digest"]
    entries = [
        {"mediaType": kind, "digest": digest, "size": len(manifest), "platform": {"os": "linux", "architecture": a}}
        for a in ("amd64", "arm64")
    ]
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
    place = f"http://{host}/v2/team/app/manifests/multi"
    done = execute(
        ["curl", "-sf", "-X", "PUT", "-H", f"Content-Type: {index['mediaType']}", "-d", json.dumps(index), place]
    )
    assert done.code == 0, done
    name, copy = f"{host}/team/app:multi", f"{host}/copy/app:multi"
    docker("pull", "--platform", "all", name)
    docker("tag", name, copy)
    docker("push", copy)
    raw = [execute(["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{n}"]).out for n in (name, copy)]
    assert raw[0] == raw[1] == json.dumps(index)
    assert execute(
        ["skopeo", "copy", "--all", "--src-tls-verify=false", f"docker://{copy}", f"dir:{docker.config}/whole"]
    ).code == 0  # fmt: skip
    docker("rmi", name, copy)


HELPER = """#!/bin/sh
read -r line
case $1 in
store) printf %s "$line" > "$0.kept" ;;
get) cat "$0.kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm -f "$0.kept" ;;
esac
"""


def test_one_helper_for_docker_and_corten(docker: Client, corten: Client, tmp_path: Path) -> None:
    """What one client stores the other finds, and takes away."""
    program = tmp_path / "docker-credential-shared"
    program.write_text(HELPER)
    program.chmod(0o755)
    (tmp_path / "config.json").write_text('{"credsStore": "shared"}')
    (tmp_path / "htpasswd").write_text("ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "DOCKER_CONFIG": str(tmp_path)}

    def run(client: Client, *words: str, input: str | None = None) -> str:
        done = execute([*client.command, *words], input, env={**client.env, **env})
        assert done.code == 0, done
        return done.out

    with own_process("--root", str(tmp_path / "store"), "--htpasswd", str(tmp_path / "htpasswd")) as (host, _):
        name = f"{host}/made:1"
        docker("tag", IMAGE, name)
        for first, second in ((docker, corten), (corten, docker)):
            run(first, "login", "-u", "ann", "--password-stdin", host, input="secret")
            assert "secret" not in (tmp_path / "config.json").read_text()
            run(second, "push", name)
            run(second, "logout", host)
            assert not Path(f"{program}.kept").exists()
            assert execute([*first.command, "push", name], env={**first.env, **env}).code == 1
        docker("rmi", name)
