"""Outputs of builds other than the image store: directories, tars, archives, registries, by unmodified clients."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.builders import Builder, builder, remove_builds
from e2e_parts.cortend import IMAGE, Cortend, short_root

FILES = f"""FROM {IMAGE} AS made
RUN mkdir -p /out/sub/empty && echo one > /out/a && ln /out/a /out/hard && ln -s sub/b /out/link && \\
    echo two > /out/sub/b && chown 5:6 /out/sub/b && chmod 4711 /out/sub/b && mkfifo /out/fifo && \\
    touch -d @1234567890 /out/a && dd if=/dev/zero of=/out/sparse bs=1 count=1 seek=1M 2>/dev/null
FROM scratch
COPY --from=made /out /
"""


@pytest.fixture(params=["corten", "docker 20.10", "buildx"])
def build(request: pytest.FixtureRequest, daemon: Cortend, tmp_path: Path) -> Builder:
    return builder(request.param, daemon, tmp_path)


@pytest.fixture(autouse=True)
def no_builds_left(daemon: Cortend) -> Iterator[None]:
    yield
    remove_builds(daemon)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    root.mkdir()
    (root / "Dockerfile").write_text(FILES)
    return root


@pytest.fixture
def buildx(daemon: Cortend, tmp_path: Path) -> Builder:
    return builder("buildx", daemon, tmp_path)


def images(daemon: Cortend) -> int:
    return len(daemon.get("/images/json?all=1"))


def test_a_directory(build: Builder, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    before, out = images(daemon), tmp_path / "out"
    build("-o", f"type=local,dest={out}", str(files))
    assert sorted(os.listdir(out)) == ["a", "fifo", "hard", "link", "sparse", "sub"]
    assert (out / "a").read_text() == "one\n" and (out / "a").stat().st_mtime == 1234567890
    assert (out / "a").stat().st_ino == (out / "hard").stat().st_ino
    assert os.readlink(out / "link") == "sub/b" and (out / "link").read_text() == "two\n"
    assert stat.S_IMODE((out / "sub/b").stat().st_mode) == 0o4711 and stat.S_ISFIFO((out / "fifo").stat().st_mode)
    assert (out / "sparse").stat().st_size == (1 << 20) + 1 and (out / "sub/empty").is_dir()
    assert images(daemon) == before


def test_a_directory_that_is_to_have_nothing_else(buildx: Builder, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        done = buildx("--allow", "buildx.local.delete", "-o", f"type=local,dest={out},mode=delete", str(files))
        assert "Unknown" not in done.err and not (out / "other").exists()
        (out / "other").write_text("x")
    assert (out / "sub/b").read_text() == "two\n"


def test_a_tar(build: Builder, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    before = images(daemon)
    build("-o", f"type=tar,dest={tmp_path / 'out.tar'}", str(files))
    with tarfile.open(tmp_path / "out.tar") as tar:
        found = {member.name: member for member in tar}
        assert sorted(found) == ["a", "fifo", "hard", "link", "sparse", "sub", "sub/b", "sub/empty"]
        assert (found["sub/b"].uid, found["sub/b"].gid, found["sub/b"].mode) == (5, 6, 0o4711)
        assert found["hard"].islnk() and found["hard"].linkname == "a" and found["fifo"].isfifo()
        assert found["a"].mtime == 1234567890 and found["sparse"].size == (1 << 20) + 1
    assert images(daemon) == before


def layout(path: Path) -> dict[str, bytes]:
    """Members of an archive; each blob is what its name says."""
    with tarfile.open(path) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar if member.isreg()}  # type: ignore[union-attr]
    for name, body in found.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(body).hexdigest()}"
    return found


def blob(found: dict[str, bytes], descriptor: Any) -> bytes:
    body = found["blobs/" + descriptor["digest"].replace(":", "/")]
    assert len(body) == descriptor["size"]
    return body


def of_layers(found: dict[str, bytes], manifest: Any) -> dict[str, tarfile.TarInfo]:
    """What all layers have."""
    members: dict[str, tarfile.TarInfo] = {}
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(blob(found, layer))) as tar:
            members |= {member.name: member for member in tar}
    return members


def test_an_oci_archive(buildx: Builder, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    before, out, answered = images(daemon), tmp_path / "out.tar", tmp_path / "answered"
    wanted = f"type=oci,name=some.where/app:1,dest={out},annotation.a.b=c,compression=uncompressed"
    buildx("-o", wanted, "--metadata-file", str(answered), str(files))
    found = layout(out)
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"} and "manifest.json" not in found
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "some.where/app:1"
    manifest = json.loads(blob(found, entry))
    assert manifest["annotations"] == {"a.b": "c"} and manifest["mediaType"].startswith("application/vnd.oci.")
    assert [each["mediaType"] for each in manifest["layers"]] == ["application/vnd.oci.image.layer.v1.tar"]
    config = json.loads(blob(found, manifest["config"]))
    assert config["rootfs"]["diff_ids"] == [each["digest"] for each in manifest["layers"]]
    assert "sub/b" in of_layers(found, manifest)
    answer = json.loads(answered.read_text())
    assert answer["containerimage.digest"] == entry["digest"] == answer["containerimage.descriptor"]["digest"]
    assert answer["containerimage.config.digest"] == manifest["config"]["digest"]
    assert answer["image.name"] == "some.where/app:1" and images(daemon) == before


def test_an_oci_layout_as_a_directory(buildx: Builder, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):  # what is there is not sent again
        buildx("-o", f"type=oci,tar=false,name=some.where/app:1,dest={out}", str(files))
    (entry,) = json.loads((out / "index.json").read_text())["manifests"]
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.glob("blobs/sha256/*")}
    manifest = json.loads(blob(found, entry))
    assert "sub/b" in of_layers(found, manifest) and blob(found, manifest["config"])
    assert len(found) == 3


def test_a_docker_archive_can_be_loaded(buildx: Builder, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    buildx("-o", f"type=docker,name=loaded:1,dest={tmp_path / 'out.tar'}", str(files))
    found = layout(tmp_path / "out.tar")
    (entry,) = json.loads(found["manifest.json"])
    assert entry["RepoTags"] == ["loaded:1"]
    (named,) = json.loads(found["index.json"])["manifests"]
    assert named["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    status, _ = daemon.ask("POST", "/images/load", (tmp_path / "out.tar").read_bytes())
    assert status == 200
    loaded = daemon.get("/images/loaded:1/json")
    assert loaded["Id"].replace(":", "/") == entry["Config"].removeprefix("blobs/")


def test_several_outputs_at_once(buildx: Builder, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    outputs = [f"type=local,dest={tmp_path / 'out'}", f"type=tar,dest={tmp_path / 'tar'}"]
    outputs += [f"type=oci,dest={tmp_path / 'oci'}", "type=image,name=kept:1"]
    buildx(*[word for each in outputs for word in ("-o", each)], str(files))
    assert (tmp_path / "out/a").read_text() == "one\n"
    with tarfile.open(tmp_path / "tar") as tar:
        assert "sub/b" in tar.getnames()
    (entry,) = json.loads(layout(tmp_path / "oci")["index.json"])["manifests"]
    assert daemon.get("/images/kept:1/json")["RootFS"]["Layers"] and entry["size"]


@pytest.mark.parametrize("stored", [True, False])
def test_a_push(buildx: Builder, daemon: Cortend, files: Path, tmp_path: Path, debians: str, stored: bool) -> None:
    before, answered, id = images(daemon), tmp_path / "answered", tmp_path / "id"
    names = f'"name={debians}/one:1,{debians}/two:2"'
    output = f"type=image,{names},push=true,store={str(stored).lower()},compression=zstd,force-compression=true"
    buildx("--provenance=false", "-o", output, "--metadata-file", str(answered), "--iidfile", str(id), str(files))
    answer = json.loads(answered.read_text())
    for name, tag in (("one", "1"), ("two", "2")):
        kind = "application/vnd.oci.image.manifest.v1+json"
        request = urllib.request.Request(f"http://{debians}/v2/{name}/manifests/{tag}", headers={"Accept": kind})
        with urllib.request.urlopen(request) as response:
            manifest = json.load(response)
            assert response.headers["Docker-Content-Digest"] == answer["containerimage.digest"]
        assert all(layer["mediaType"].endswith("+zstd") for layer in manifest["layers"])
    assert images(daemon) == before + stored
    if stored:
        assert daemon.get(f"/images/{id.read_text()}/json")["RepoTags"] == [
            f"{debians}/one:1",
            f"{debians}/two:2",
        ]


def test_a_push_by_digest(daemon: Cortend, files: Path, tmp_path: Path, debians: str) -> None:
    before, client = images(daemon), builder("docker 20.10", daemon, tmp_path)
    client("-o", f"type=registry,name={debians}/three,push-by-digest=true,store=false", str(files))
    with pytest.raises(urllib.error.HTTPError):  # there is no tag
        urllib.request.urlopen(f"http://{debians}/v2/three/manifests/latest")
    assert images(daemon) == before


def test_what_an_output_cannot_be(build: Builder, files: Path, tmp_path: Path) -> None:
    unnamed = build("-o", "type=image,push=true", str(files), code=1).err
    assert "needs a name to push to" in unnamed or "tag is needed when pushing" in unnamed  # the client's own words
    assert "non-bool value" in build("-o", "type=image,name=x,store=perhaps", str(files), code=1).err
    if build.name == "buildx":
        wrong = build("-o", f"type=oci,dest={tmp_path / 'x'},compression=estargz", str(files), code=1)
        assert "compression=estargz is not supported" in wrong.err


def test_the_same_on_another_machine(buildx: Builder, daemon: Cortend, files: Path, tmp_path: Path) -> None:
    (files / "Dockerfile").write_text(
        f"FROM {IMAGE}\nRUN echo now > /now; mkdir /d; touch -d @1234567890 /old; ln -s /now /link\nCOPY Dockerfile /\n"
    )
    with short_root() as root, Cortend(root) as other:
        other.start()
        digests = []
        for number, each in enumerate((daemon, other)):
            out = tmp_path / f"{number}.tar"
            here = builder("buildx", each, tmp_path)
            wanted = f"type=oci,dest={out},rewrite-timestamp=true"
            here("--build-arg", "SOURCE_DATE_EPOCH=1300000000", "--no-cache", "-o", wanted, str(files))
            found = layout(out)
            (entry,) = json.loads(found["index.json"])["manifests"]
            digests.append(entry["digest"])
            members = of_layers(found, json.loads(blob(found, entry)))
            assert members["old"].mtime == 1234567890 and members["now"].mtime == 1300000000
        assert digests[0] == digests[1]
        assert (tmp_path / "0.tar").read_bytes() == (tmp_path / "1.tar").read_bytes()


LARGE = f"""FROM {IMAGE} AS made
RUN dd if=/dev/zero of=/big bs=1M count=100 2>/dev/null
FROM scratch
COPY --from=made /big /
"""


def resident(daemon: Cortend) -> int:
    """Bytes."""
    return int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def large(daemon: Cortend, files: Path, tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a build to standard output, whose steps are in the cache."""
    (files / "Dockerfile").write_text(LARGE)
    client = builder("docker 20.10", daemon, tmp_path)
    client("-t", "large", str(files))
    return [*client.command, "-o", "type=tar,dest=-", str(files)], client.env


def test_a_slow_client(daemon: Cortend, large: tuple[list[str], dict[str, str]]) -> None:
    before, most, size = resident(daemon), 0, 0
    with subprocess.Popen(large[0], env=large[1], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while piece := process.stdout.read(4 << 20):
            size += len(piece)
            most = max(most, resident(daemon))
    assert process.returncode == 0 and size > 100 << 20 and most - before < 30 << 20


@pytest.mark.parametrize("kind", ["tar", "local"])
def test_a_client_that_leaves(
    daemon: Cortend, large: tuple[list[str], dict[str, str]], tmp_path: Path, kind: str
) -> None:
    command, env = large
    if kind == "local":
        command = [word.replace("type=tar,dest=-", f"type=local,dest={tmp_path / 'out'}") for word in command]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    if kind == "tar":
        assert process.stdout.read(1 << 20)
    else:
        wait_until(lambda: (tmp_path / "out/big").exists())
    process.kill()
    process.communicate()  # that nothing is left is looked at after each test


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
