"""SBOM and provenance: beside images in the store, in registries and archives, and as files of directories."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import spdx_check
from e2e_parts.builders import Builder, builder, corten, history, remove_builds, run
from e2e_parts.cortend import IMAGE, Cortend
from registry_parts.own import own_process

FILES = f"""FROM {IMAGE} AS made
ARG KEY
RUN --mount=type=secret,id=token cat /run/secrets/token > /dev/null; \\
    mkdir -p /var/lib/dpkg /app/node_modules/@a/b && \\
    printf 'Package: p\\nVersion: 1.2-3\\nArchitecture: all\\n' > /var/lib/dpkg/status && \\
    printf '{{"name": "@a/b", "version": "1.0.0", "license": "MIT"}}' > /app/node_modules/@a/b/package.json
CMD echo it runs
"""
SBOM, SLSA = "https://spdx.dev/Document", "https://slsa.dev/provenance/v1"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    root.mkdir()
    (root / "Dockerfile").write_text(FILES)
    (tmp_path / "token").write_text("a-token-of-mine")
    return root


@pytest.fixture
def buildx(daemon: Cortend, tmp_path: Path) -> Builder:
    return builder("buildx", daemon, tmp_path)


@pytest.fixture(autouse=True)
def no_builds_left(daemon: Cortend, nothing_left: None) -> Iterator[None]:
    yield
    remove_builds(daemon)


class Layout:
    """An OCI layout in a tar."""

    def __init__(self, data: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            self.files = {each.name: tar.extractfile(each) for each in tar if each.isfile()}
            self.data = {name: file.read() for name, file in self.files.items() if file is not None}
        self.root = json.loads(self.data["index.json"])["manifests"][0]

    def blob(self, descriptor: dict[str, Any]) -> Any:
        body = self.data["blobs/sha256/" + descriptor["digest"].partition(":")[2]]
        assert hashlib.sha256(body).hexdigest() == descriptor["digest"].partition(":")[2]
        assert len(body) == descriptor["size"]
        return json.loads(body)


def statements(index: Any, blob: Any) -> dict[str, Any]:
    """By the type of their predicates; checks what an index says of them."""
    image, attested = index["manifests"]
    assert attested["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert attested["annotations"] == {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image["digest"],
    }
    manifest = blob(attested)
    assert blob(manifest["config"])["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    found = {}
    for layer in manifest["layers"]:
        assert layer["mediaType"] == "application/vnd.in-toto+json"
        body = blob(layer)
        assert body["predicateType"] == layer["annotations"]["in-toto.io/predicate-type"]
        assert body["subject"][0]["digest"] == {"sha256": image["digest"].partition(":")[2]}
        found[body["predicateType"]] = body
    return found


def attest(buildx: Builder, files: Path, *arguments: str) -> None:
    token = files.parent / "token"
    asked = ("--sbom=true", "--provenance=mode=max", "--build-arg", "KEY=value", "--secret", f"id=token,src={token}")
    buildx(*asked, *arguments, str(files))


def test_in_an_oci_layout(buildx: Builder, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    attest(buildx, files, "-o", f"type=oci,name=made:1,dest={tmp_path / 'out.tar'}")
    corten(daemon, "load", "-i", str(tmp_path / "out.tar"))
    assert run(daemon, "made:1") == "it runs\n"
    layout = Layout((tmp_path / "out.tar").read_bytes())
    found = statements(layout.blob(layout.root), layout.blob)
    packages = spdx_check.check(found[SBOM]["predicate"])
    assert [(each["name"], each["versionInfo"]) for each in packages] == [("p", "1.2-3"), ("@a/b", "1.0.0")]
    definition = found[SLSA]["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"][0]["uri"].startswith("pkg:")
    request = definition["externalParameters"]["request"]
    assert request["args"]["build-arg:KEY"] == "value"
    assert request["secrets"] == [{"id": "token", "optional": True}]
    assert b"a-token-of-mine" not in (tmp_path / "out.tar").read_bytes()


def test_in_a_directory(buildx: Builder, files: Path, tmp_path: Path) -> None:
    (files / "Dockerfile").write_text(f"{FILES}\nFROM scratch\nCOPY --from=made /app /app\n")
    attest(buildx, files, "-o", f"type=local,dest={tmp_path / 'out'}")
    assert sorted(os.listdir(tmp_path / "out")) == ["app", "provenance.json", "sbom.spdx.json"]
    found = json.loads((tmp_path / "out/sbom.spdx.json").read_text())
    body = (tmp_path / "out/app/node_modules/@a/b/package.json").read_bytes()
    assert found["subject"] == [
        {"name": "app/node_modules/@a/b/package.json", "digest": {"sha256": hashlib.sha256(body).hexdigest()}}
    ]
    assert [each["name"] for each in spdx_check.check(found["predicate"])] == ["@a/b"]
    assert json.loads((tmp_path / "out/provenance.json").read_text())["predicateType"] == SLSA


def test_what_buildx_asks_for_by_itself(buildx: Builder, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    """Provenance without values, of images alone."""
    buildx("--build-arg", "KEY=hidden-value", "-o", f"type=local,dest={tmp_path / 'out'}", str(files))
    assert not (tmp_path / "out/provenance.json").exists()
    metadata = tmp_path / "metadata"
    buildx("--build-arg", "KEY=hidden-value", "-t", "made", "--metadata-file", str(metadata), str(files))
    assert run(daemon, "made") == "it runs\n"
    (one, *_) = daemon.get("/build/history")
    shown = json.loads(history(buildx, "inspect", "--format", "json").out)
    assert [each["Type"] for each in shown["Attachments"]].count(SLSA) == 1 and shown["Materials"]
    text = history(buildx, "inspect", "attachment", "--type", SLSA, one["Ref"]).out
    assert "hidden-value" not in text and json.loads(text)["buildDefinition"]
    asked = json.loads(metadata.read_text())["buildx.build.provenance"]
    assert asked["materials"] and "hidden-value" not in metadata.read_text()
    attest(buildx, files, "-t", "max", "--metadata-file", str(metadata))
    assert json.loads(metadata.read_text())["buildx.build.provenance"]["materials"] == asked["materials"]
    buildx("--provenance=false", "--build-arg", "KEY=hidden-value", "-t", "plain", str(files))
    assert daemon.get("/images/plain/json")["Id"] == daemon.get("/images/made/json")["Id"]


def test_ours(daemon: Cortend, files: Path, tmp_path: Path) -> None:
    """Run, inspect, save and load of such an image, and that nothing is left of it when it is removed."""
    corten(daemon, "build", "-q", "--sbom", "true", "--attest", "type=provenance,mode=min", "-t", "made", str(files))
    assert corten(daemon, "run", "--rm", "--network", "none", "made").out == "it runs\n"
    before = json.loads(corten(daemon, "image", "inspect", "made").out)[0]
    assert "nothing is wrong" in corten(daemon, "system", "check").out
    corten(daemon, "save", "-o", str(tmp_path / "saved.tar"), "made")
    corten(daemon, "rmi", "made")
    assert "nothing is wrong" in corten(daemon, "system", "check").out
    corten(daemon, "load", "-i", str(tmp_path / "saved.tar"))
    assert json.loads(corten(daemon, "image", "inspect", "made").out)[0]["Id"] == before["Id"]
    assert corten(daemon, "run", "--rm", "--network", "none", "made").out == "it runs\n"
    corten(daemon, "build", "-q", "--attest", "type=other", str(files), code=125)


def fetched(url: str) -> Any:
    kinds = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": kinds}), timeout=20) as answer:
        return json.load(answer)


def test_pushed_and_pulled(daemon: Cortend, files: Path, tmp_path: Path) -> None:
    """The registry has the index and all that it names; what is pulled runs."""
    with own_process("--root", str(tmp_path / "registry")) as (host, _):
        name = f"{host}/made:1"
        corten(daemon, "build", "-q", "--sbom", "true", "--provenance", "mode=max", "-t", name, str(files))
        corten(daemon, "push", "-q", name)

        def blob(descriptor: dict[str, Any]) -> Any:
            kind = "manifests" if "manifest" in descriptor["mediaType"] else "blobs"
            return fetched(f"http://{host}/v2/made/{kind}/{descriptor['digest']}")

        index = fetched(f"http://{host}/v2/made/manifests/1")
        assert set(statements(index, blob)) == {SBOM, SLSA}
        corten(daemon, "rmi", name)
        corten(daemon, "pull", "-q", name)
        assert corten(daemon, "run", "--rm", "--network", "none", name).out == "it runs\n"


def test_docker_formats_have_no_place_for_it(buildx: Builder, files: Path, tmp_path: Path) -> None:
    """What was asked for is refused, what is for images alone is left out."""
    done = buildx("--sbom=true", "-o", "type=image,name=made,oci-mediatypes=false", str(files), code=1)
    assert 'cannot export attestations with "oci-mediatypes=false"' in done.err
    buildx("-o", f"type=docker,dest={tmp_path / 'out.tar'}", str(files))
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert "manifest.json" in tar.getnames()
