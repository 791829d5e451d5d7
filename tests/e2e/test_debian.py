"""A whole distribution: a Debian root made by debootstrap, pushed by skopeo into Debian's registry, run from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.debian import codename, debian_tar
from e2e_parts.others import archive, need, registry


@pytest.fixture(scope="module")
def root_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return debian_tar(tmp_path_factory.mktemp("debian"))


@pytest.mark.timeout(720)  # for the first run, which downloads it
def test_a_debian_root(corten: Client, root_tar: Path, tmp_path: Path) -> None:
    need("skopeo")
    archive(tmp_path / "debian.tar", "debian:root", [root_tar.read_bytes()], {"Cmd": ["bash"]})
    with registry(tmp_path / "registry") as host:
        image = f"{host}/debian:{codename()}"
        push = [
            "skopeo",
            "copy",
            "--dest-tls-verify=false",
            f"docker-archive:{tmp_path}/debian.tar",
            f"docker://{image}",
        ]
        done = execute(push, timeout=120)
        assert done.code == 0, done.err
        try:
            done = corten("run", "--rm", image, "cat", "/etc/os-release", timeout=120)
            assert f"VERSION_CODENAME={codename()}" in done.out.splitlines()
            assert f"Unable to find image '{image}' locally" in done.err and "Pull complete" in done.err
            script = "dpkg -l bash | tail -1; id -un; getent passwd nobody; perl -e 'print 6 * 7'"
            lines = corten.out("run", "--rm", "--network", "none", image, "bash", "-c", script).splitlines()
            assert lines[0].startswith("ii  bash") and lines[1] == "root" and lines[2].startswith("nobody:x:65534:")
            assert lines[3] == "42"
        finally:
            corten("rmi", image, code=None)
