"""Our registry with accounts, rights and tokens: the docker client, skopeo, podman and buildah as they are."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client, Done, execute
from e2e_parts.cortend import IMAGE
from e2e_parts.others import need
from registry_parts.own import SECRET, own_process

pytestmark = pytest.mark.usefixtures("no_images_left")

RULES = [
    *("--allow", "ann:**:read,write,delete"),
    *("--allow", "bob:bob/**:read,write"),
    *("--allow", "anonymous:public/**:read"),
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("rights")
    (root / "users").write_text(f"ann:{SECRET}\nbob:{SECRET}\n")
    with own_process("--root", str(root / "store"), "--htpasswd", str(root / "users"), *RULES) as (host, _):
        yield host


def login(client: Client, user: str, host: str) -> None:
    client("login", "-u", user, "--password-stdin", host, input="secret")


def test_docker_and_corten(cli: Client, host: str) -> None:
    mine, hers, public = f"{host}/bob/{cli.name}:1", f"{host}/ann/{cli.name}:1", f"{host}/public/{cli.name}:1"
    for name in (mine, hers, public):
        cli("tag", IMAGE, name)
    assert cli("login", "-u", "bob", "--password-stdin", host, input="wrong", code=1).err
    assert "denied" in cli("push", mine, code=1).err
    login(cli, "bob", host)
    cli("push", mine)
    for name in (hers, public):
        assert "denied: requested access to the resource is denied" in cli("push", name, code=1).err
    login(cli, "ann", host)
    cli("push", public)
    assert "Mounted from" in cli("push", hers).out
    cli("logout", host)
    cli("rmi", mine, hers, public)
    cli("pull", public)
    for name in (mine, hers):
        assert "pull access denied" in cli("pull", name, code=1).err
    login(cli, "bob", host)
    cli("pull", mine)
    assert "denied" in cli("pull", hers, code=1).err
    cli("logout", host)


def test_skopeo(docker: Client, host: str) -> None:
    need("skopeo")
    docker("tag", IMAGE, f"{host}/ann/skopeo:1")
    login(docker, "ann", host)
    docker("push", f"{host}/ann/skopeo:1")
    docker("logout", host)
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false", "--src-creds", "ann:secret"]

    def copy(source: str, target: str, user: str) -> Done:
        command = ["skopeo", "copy", "-q", *plain, "--dest-creds", f"{user}:secret"]
        return execute([*command, f"docker://{host}/{source}", f"docker://{host}/{target}"])

    assert copy("ann/skopeo:1", "public/skopeo:1", "ann").code == 0
    assert copy("ann/skopeo:1", "bob/skopeo:1", "bob").code == 0
    assert copy("ann/skopeo:1", "public/skopeo:1", "bob").code == 1
    look = ["skopeo", "inspect", "--tls-verify=false"]
    assert execute([*look, "--no-creds", f"docker://{host}/public/skopeo:1"]).code == 0
    assert "denied" in execute([*look, "--no-creds", f"docker://{host}/ann/skopeo:1"]).err
    remove = ["skopeo", "delete", "--tls-verify=false", "--creds"]
    assert execute([*remove, "bob:secret", f"docker://{host}/bob/skopeo:1"]).code == 1
    assert execute([*remove, "ann:secret", f"docker://{host}/bob/skopeo:1"]).code == 0
    assert execute([*look, "--creds", "bob:secret", f"docker://{host}/bob/skopeo:1"]).code == 1


@pytest.mark.parametrize("program", ["podman", "buildah"])
def test_podman_and_buildah(docker: Client, host: str, tmp_path: Path, program: str) -> None:
    need(program)
    docker("tag", IMAGE, f"{host}/bob/{program}:1")
    login(docker, "bob", host)
    docker("push", f"{host}/bob/{program}:1")
    docker("logout", host)
    own = tempfile.mkdtemp(prefix="cp-")  # podman needs a short path
    command = [program, "--root", f"{own}/p", "--runroot", f"{own}/r", "--storage-driver", "vfs"]
    auth = ["--authfile", str(tmp_path / "auth.json"), "--tls-verify=false"]
    try:
        assert execute([*command, "login", *auth, "-u", "bob", "-p", "wrong", host]).code != 0
        assert execute([*command, "login", *auth, "-u", "bob", "-p", "secret", host]).code == 0
        done = execute([*command, "pull", "-q", *auth, f"{host}/bob/{program}:1"], timeout=60)
        assert done.code == 0, done
        done = execute([*command, "push", "-q", *auth, f"{host}/bob/{program}:1", f"docker://{host}/bob/{program}:2"])
        assert done.code == 0, done
        done = execute([*command, "push", "-q", *auth, f"{host}/bob/{program}:1", f"docker://{host}/ann/{program}:2"])
        assert done.code != 0 and "403" in done.err + done.out, done
    finally:
        execute([*command, "rmi", "-a", "-f"])
        shutil.rmtree(own, ignore_errors=True)
