"""A whole distribution: a Debian root made by debootstrap, pushed by skopeo into Debian's registry, run from there.

Making the root takes half a minute and a mirror, so it is kept below XDG_CACHE_HOME for the next time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import kept
from e2e_parts.clients import Client, execute
from e2e_parts.others import archive, need, registry

UNUSED = ("./usr/share/doc/*", "./usr/share/locale/*", "./usr/share/man/*", "./var/cache/*", "./var/lib/apt/lists/*")


def _codename() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    if values.get("ID") != "debian":
        pytest.skip("this is no Debian: debootstrap has no mirror")
    return values["VERSION_CODENAME"]


def _mirror(codename: str) -> str:
    """Where this machine gets its own packages from."""
    targets = execute(["apt-get", "indextargets", "--format", "$(RELEASE) $(SITE)"]).out.splitlines()
    sites = [line.split()[1] for line in targets if line.split()[0] == codename]
    if not sites:
        pytest.skip("apt has no lists of packages: apt-get update")
    return sites[0]


@pytest.fixture(scope="module")
def root_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("debootstrap", "tar")
    codename = _codename()
    cache = kept.directory()
    tar = cache / f"{codename}.tar"
    if not tar.exists():
        root = tmp_path_factory.mktemp("debian") / "root"
        done = execute(["debootstrap", "--variant=minbase", codename, str(root), _mirror(codename)], timeout=600)
        assert done.code == 0, done.out[-2000:] + done.err
        draft = cache / f"{codename}.{os.getpid()}"
        excluded = [f"--exclude={pattern}" for pattern in UNUSED]
        subprocess.run(["tar", "-C", str(root), "--numeric-owner", *excluded, "-cf", str(draft), "."], check=True)
        draft.rename(tar)
        shutil.rmtree(root)
    return tar


@pytest.mark.timeout(720)  # for the first run, which downloads it
def test_a_debian_root(corten: Client, root_tar: Path, tmp_path: Path) -> None:
    need("skopeo")
    archive(tmp_path / "debian.tar", "debian:root", [root_tar.read_bytes()], {"Cmd": ["bash"]})
    with registry(tmp_path / "registry") as host:
        image = f"{host}/debian:{_codename()}"
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
            assert f"VERSION_CODENAME={_codename()}" in done.out.splitlines()
            assert f"Unable to find image '{image}' locally" in done.err and "Pull complete" in done.err
            script = "dpkg -l bash | tail -1; id -un; getent passwd nobody; perl -e 'print 6 * 7'"
            lines = corten.out("run", "--rm", "--network", "none", image, "bash", "-c", script).splitlines()
            assert lines[0].startswith("ii  bash") and lines[1] == "root" and lines[2].startswith("nobody:x:65534:")
            assert lines[3] == "42"
        finally:
            corten("rmi", image, code=None)
