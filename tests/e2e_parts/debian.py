"""A Debian root made by debootstrap, as a tar.

Making it takes half a minute and more, and a mirror, so it is kept for the next time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import kept
from e2e_parts.clients import execute
from e2e_parts.others import need

UNUSED = ("./usr/share/doc/*", "./usr/share/locale/*", "./usr/share/man/*", "./var/cache/*", "./var/lib/apt/lists/*")


def debian_tar(scratch: Path, *packages: str) -> Path:
    """The root of this machine's release, with these packages."""
    need("debootstrap", "tar")
    name = codename()
    cache = kept.directory()
    tar = cache / f"{'-'.join([name, *packages])}.tar"
    if not tar.exists():
        root = scratch / "root"
        more = [f"--include={','.join(packages)}"] if packages else []
        command = ["debootstrap", "--variant=minbase", *more, name, str(root), _mirror(name)]
        done = execute(command, timeout=600)
        assert done.code == 0, done.out[-2000:] + done.err
        draft = cache / f"{tar.name}.{os.getpid()}"
        excluded = [f"--exclude={pattern}" for pattern in UNUSED]
        subprocess.run(["tar", "-C", str(root), "--numeric-owner", *excluded, "-cf", str(draft), "."], check=True)
        draft.rename(tar)
        shutil.rmtree(root)
    return tar


def codename() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    if values.get("ID") != "debian":
        pytest.skip("this is no Debian: debootstrap has no mirror")
    return values["VERSION_CODENAME"]


def _mirror(release: str) -> str:
    """Where this machine gets its own packages from."""
    targets = execute(["apt-get", "indextargets", "--format", "$(RELEASE) $(SITE)"]).out.splitlines()
    sites = [line.split()[1] for line in targets if line.split()[0] == release]
    if not sites:
        pytest.skip("apt has no lists of packages: apt-get update")
    return sites[0]
