"""save, push, login; and our own registry with skopeo, docker, podman and plain HTTP as its clients."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.others import dockerd, need
from registry_parts.own import own_process

pytestmark = pytest.mark.usefixtures("no_images_left")

# "secret", by htpasswd -nbB -C 4
HTPASSWD = "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with own_process("--root", str(tmp_path_factory.mktemp("own"))) as (host, _):
        yield host


@pytest.fixture(params=["ours", "debians"])
def host(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


def _made(client: Client, *names: str) -> str:
    """An image of two layers under these names; its id."""
    client("run", "--name", "maker", IMAGE, "sh", "-c", "echo made > /made; rm /etc/group")
    id = client.out("commit", "-c", 'CMD ["cat","/made"]', "maker", names[0])
    client("rm", "maker")
    for name in names[1:]:
        client("tag", names[0], name)
    return id


def ask(
    host: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request(method, path, body or None, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


# --------------------------------------------------------------------------------------------------------------- save


def test_save_and_load(cli: Client, tmp_path: Path) -> None:
    id = _made(cli, "made:1", "other/name:2")
    archive = tmp_path / "a.tar"
    cli("save", "-o", str(archive), "made:1", "other/name:2", IMAGE)
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        assert len(names) == len(set(names)) and {"manifest.json", "index.json", "oci-layout"} <= set(names)
        entries = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert sorted(entries[0]["RepoTags"]) == ["made:1", "other/name:2"] and len(entries) == 2
    cli("rmi", "made:1", "other/name:2")
    loaded = cli.out("load", "-i", str(archive)).splitlines()
    assert {"Loaded image: made:1", "Loaded image: other/name:2"} <= set(loaded)
    assert cli.out("inspect", "-f", "{{.Id}}", "made:1") == id
    assert cli.out("run", "--rm", "other/name:2") == "made"
    assert "No such image" in cli("save", "-o", str(archive), "nosuch", code=1).err
    cli("save", "-o", str(archive), id)
    cli("rmi", "made:1", "other/name:2")
    assert cli.out("load", "-i", str(archive)) == f"Loaded image ID: {id}"


def test_saved_archives_are_read_by_others(docker: Client, tmp_path: Path) -> None:
    need("skopeo")
    id = _made(docker, "made:1")
    archive = tmp_path / "a.tar"
    docker("save", "-o", str(archive), "made:1")
    layout = tmp_path / "layout"
    layout.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(layout)
    for source in (f"docker-archive:{archive}:made:1", f"oci:{layout}:1"):
        done = execute(["skopeo", "inspect", "--raw", "--config", source])
        assert done.code == 0 and digest(done.out.encode()) == id, done
    short = Path(tempfile.mkdtemp(prefix="cd-"))  # containerd's socket needs a short path
    with dockerd(short / "d") as other:
        assert "made:1" in other("load", "-i", str(archive)).out
        assert other.out("inspect", "-f", "{{.Id}}", "made:1") == id
        other("save", "-o", str(tmp_path / "b.tar"), "made:1")
    shutil.rmtree(short, ignore_errors=True)
    docker("rmi", "made:1")
    docker("load", "-i", str(tmp_path / "b.tar"))
    assert docker.out("inspect", "-f", "{{.Id}}", "made:1") == id


# --------------------------------------------------------------------------------------------------------------- push


def test_push_and_pull(cli: Client, daemon: Cortend, host: str) -> None:
    repository = f"{host}/{cli.name}/made"
    _made(cli, f"{repository}:1", f"{repository}2:1")
    lines = cli.out("push", f"{repository}:1").splitlines()
    assert lines[0] == f"The push refers to repository [{repository}]"
    assert lines[-1].startswith("1: digest: sha256:") and sum("Pushed" in line for line in lines) >= 1
    assert sum("Layer already exists" in line for line in cli.out("push", f"{repository}:1").splitlines()) == 2
    assert sum("Mounted from" in line for line in cli.out("push", f"{repository}2:1").splitlines()) == 2
    pushed = lines[-1].split()[2]
    assert f"{repository}@{pushed}" in daemon.get(f"/images/{repository}:1/json")["RepoDigests"]
    cli("rmi", f"{repository}:1", f"{repository}2:1")
    cli("pull", f"{repository}@{pushed}")
    assert cli.out("run", "--rm", f"{repository}@{pushed}") == "made"
    cli("rmi", f"{repository}@{pushed}")
    assert "does not exist locally" in cli("push", f"{repository}:nosuch", code=1).err


def test_push_all_tags(docker: Client, ours: str) -> None:
    _made(docker, f"{ours}/all:1", f"{ours}/all:2", f"{ours}/else:3")
    docker("push", "-a", f"{ours}/all")
    assert json.loads(ask(ours, "GET", "/v2/all/tags/list")[2])["tags"] == ["1", "2"]
    assert ask(ours, "GET", "/v2/else/tags/list")[0] == 404


def test_login_and_push(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(HTPASSWD)
    with own_process("--root", str(tmp_path / "store"), "--htpasswd", str(tmp_path / "users")) as (host, _):
        name = f"{host}/made:1"
        _made(cli, name)
        assert cli("push", name, code=1).err
        assert "401" in cli("login", "-u", "ann", "--password-stdin", host, input="wrong", code=1).err
        assert cli("login", "-u", "ann", "--password-stdin", host, input="secret").out.strip() == "Login Succeeded"
        cli("push", name)
        cli("rmi", name)
        cli("pull", name)
        cli("logout", host)
        assert cli("pull", name, code=1).err and cli("push", name, code=1).err


def test_push_without_a_registry(docker: Client) -> None:
    _made(docker, "127.0.0.1:1/made:1")
    assert "connection refused" in docker("push", "127.0.0.1:1/made:1", code=1).err


# ------------------------------------------------------------------------------------------------------ our own server


def test_skopeo_and_podman(docker: Client, ours: str, tmp_path: Path) -> None:
    need("skopeo", "podman")
    name = f"{ours}/three/made:1"
    id = _made(docker, name)
    docker("push", name)
    copied = f"docker://{ours}/copied/made:2"
    flags = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    done = execute(["skopeo", "copy", *flags, f"docker://{name}", copied])
    assert done.code == 0, done
    own = tempfile.mkdtemp(prefix="cp-")  # podman needs a short path
    roots = ["--root", f"{own}/p", "--runroot", f"{own}/r", "--tmpdir", f"{own}/t"]  # or its reset is another test's
    podman = ["podman", *roots, "--storage-driver", "vfs"]
    try:
        done = execute([*podman, "pull", "-q", "--tls-verify=false", f"{ours}/copied/made:2"], timeout=60)
        assert done.code == 0 and f"sha256:{done.out.strip()}" == id, done
        done = execute([*podman, "push", "-q", "--tls-verify=false", f"{ours}/copied/made:2", f"{ours}/pod/made:3"])
        assert done.code == 0, done
    finally:
        execute([*podman, "system", "reset", "-f"])
        shutil.rmtree(own, ignore_errors=True)
    docker("rmi", name)
    docker("pull", f"{ours}/pod/made:3")
    assert docker.out("run", "--rm", f"{ours}/pod/made:3") == "made"


def test_upload_in_chunks_and_again_after_a_restart(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    with own_process("--root", str(tmp_path / "store")) as (host, _):
        status, headers, _ = ask(host, "POST", "/v2/a/b/blobs/uploads/")
        place = headers["location"]
        assert status == 202
        status, headers, _ = ask(host, "PATCH", place, data[:1000], {"Content-Range": "0-999"})
        assert (status, headers["range"]) == (202, "0-999")
        assert ask(host, "PATCH", place, data[2000:3000], {"Content-Range": "2000-2999"})[0] == 416
    with own_process("--root", str(tmp_path / "store")) as (host, _):
        status, headers, _ = ask(host, "GET", place)
        assert (status, headers["range"]) == (204, "0-999")
        assert ask(host, "PATCH", place, data[1000:])[0] == 202
        status, headers, _ = ask(host, "PUT", f"{place}?digest={digest(data)}")
        assert (status, headers["docker-content-digest"]) == (201, digest(data))
        blob = f"/v2/a/b/blobs/{digest(data)}"
        assert ask(host, "GET", blob)[2] == data
        status, headers, body = ask(host, "GET", blob, headers={"Range": "bytes=10-19"})
        assert (status, body, headers["content-range"]) == (206, data[10:20], f"bytes 10-19/{len(data)}")
        assert ask(host, "HEAD", blob)[1]["content-length"] == str(len(data))
        assert ask(host, "GET", f"/v2/other/blobs/{digest(data)}")[0] == 404
        assert ask(host, "POST", f"/v2/other/blobs/uploads/?mount={digest(data)}&from=a/b")[0] == 201
        assert ask(host, "DELETE", blob)[0] == 202
        assert ask(host, "GET", blob)[0] == 404
        assert ask(host, "GET", f"/v2/other/blobs/{digest(data)}")[2] == data
        assert ask(host, "POST", f"/v2/a/b/blobs/uploads/?digest={digest(b'x')}", b"y")[0] == 400


def test_manifests_pages_and_referrers(ours: str) -> None:
    config = b"{}"
    assert ask(ours, "POST", f"/v2/refs/blobs/uploads/?digest={digest(config)}", config)[0] == 201
    entry = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(config), "size": 2}
    kind = "application/vnd.oci.image.manifest.v1+json"

    def put(tag: str, **more: object) -> tuple[int, str]:
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": entry, "layers": [], **more}).encode()
        return ask(ours, "PUT", f"/v2/refs/manifests/{tag}", body, {"Content-Type": kind})[0], digest(body)

    subject = put("main")[1]
    for tag in ("b", "a", "c"):
        assert put(tag, subject={**entry, "mediaType": kind, "digest": subject}, artifactType=f"x/{tag}")[0] == 201
    for n in ("%C2%B2", "-1", "1" * 5000):
        assert ask(ours, "GET", f"/v2/refs/tags/list?n={n}")[0] == 400
    status, headers, body = ask(ours, "GET", "/v2/refs/tags/list?n=2")
    assert (status, json.loads(body)["tags"]) == (200, ["a", "b"]) and 'rel="next"' in headers["link"]
    assert json.loads(ask(ours, "GET", "/v2/refs/tags/list?n=2&last=b")[2])["tags"] == ["c", "main"]
    found = json.loads(ask(ours, "GET", f"/v2/refs/referrers/{subject}")[2])["manifests"]
    assert sorted(each["artifactType"] for each in found) == ["x/a", "x/b", "x/c"]
    found = json.loads(ask(ours, "GET", f"/v2/refs/referrers/{subject}?artifactType=x/a")[2])["manifests"]
    assert [each["artifactType"] for each in found] == ["x/a"]
    missing = {**entry, "digest": digest(b"nothing")}
    assert put("bad", config=missing)[0] == 404
    assert ask(ours, "DELETE", "/v2/refs/manifests/a")[0] == 202
    assert ask(ours, "DELETE", f"/v2/refs/manifests/{subject}")[0] == 202
    assert ask(ours, "GET", "/v2/refs/manifests/main")[0] == 404
    assert "refs" in json.loads(ask(ours, "GET", "/v2/_catalog")[2])["repositories"]


@pytest.mark.parametrize(
    "path",
    ["/v2/../../etc/manifests/passwd", "/v2/a/../b/tags/list", "/v2/_blobs/tags/list", "/v2/A/tags/list",
     "/v2/a/manifests/..%2f..%2fx", "/v2/a/blobs/sha256:zz", "/v2/a/blobs/uploads/..%2f..%2fx", "/v2/" + "a" * 300 +
     "/tags/list", "/v2/a%00b/tags/list", "/v2//tags/list"],
)  # fmt: skip
def test_names_that_are_no_names(ours: str, path: str) -> None:
    assert ask(ours, "GET", path)[0] in (400, 404)
    assert ask(ours, "PUT", path, b"{}", {"Content-Type": "application/json"})[0] in (400, 404, 405)
