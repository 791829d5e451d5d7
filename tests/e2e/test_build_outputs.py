"""Outputs of builds other than the image store: directories, tars, archives, registries, by unmodified clients."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.test_build_sessions import Builder, builder
from e2e_parts.cortend import IMAGE, Cortend

FILES = f"""FROM {IMAGE} AS made
RUN mkdir -p /out/sub/empty && echo one > /out/a && ln /out/a /out/hard && ln -s sub/b /out/link && \\
    echo two > /out/sub/b && chown 5:6 /out/sub/b && chmod 4711 /out/sub/b && mkfifo /out/fifo && \\
    touch -d @1234567890 /out/a && dd if=/dev/zero of=/out/sparse bs=1 count=1 seek=1M 2>/dev/null
FROM scratch
COPY --from=made /out /
"""


@pytest.fixture(params=["docker 20.10", "buildx"])
def build(request: pytest.FixtureRequest, daemon: Cortend, tmp_path: Path) -> Builder:
    return builder(request.param, daemon, tmp_path)


@pytest.fixture(autouse=True)
def no_builds_left(daemon: Cortend) -> Iterator[None]:
    yield
    daemon.remove_everything()
    for image in daemon.get("/images/json?all=1"):
        if not any(name.startswith(IMAGE) for name in image["RepoTags"] or ()):
            daemon.ask("DELETE", f"/images/{image['Id']}?force=1")
    assert daemon.ask("POST", "/build/prune?all=1")[0] == 200


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    root.mkdir()
    (root / "Dockerfile").write_text(FILES)
    return root


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
