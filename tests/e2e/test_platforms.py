"""Images for other machines, run by QEMU's user mode emulation, which is registered while they run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import foreign
from corten.kernel import binfmt
from e2e_parts.clients import Client
from e2e_parts.cortend import Cortend

pytestmark = pytest.mark.usefixtures("no_images_left")


def _registered() -> set[str]:
    """Names of what is registered with the kernel by us."""
    fd = binfmt.mounted()
    try:
        return {entry.name for entry in binfmt.entries(fd) if entry.name.startswith("corten-")}
    finally:
        os.close(fd)


def _imported(client: Client, name: str, root: Path, command: str = '["/hello"]') -> str:
    """An image with the machine's program at /hello."""
    tar = root / f"{name}.tar"
    tar.write_bytes(foreign.layer(name))
    client("import", "--platform", f"linux/{name}", "-c", f"CMD {command}", str(tar), f"{name}:1")
    return f"{name}:1"


@pytest.fixture
def without_registration() -> Iterator[None]:
    """Skips where the machine has emulators registered itself: then there is nothing that we register."""
    fd = binfmt.mounted()
    try:
        if any(entry.takes(foreign.program("arm64")) for entry in binfmt.entries(fd)):
            pytest.skip("this machine has emulators registered")
    finally:
        os.close(fd)
    yield
    assert not _registered()


@pytest.mark.parametrize("name", foreign.NAMES)
def test_programs_of_other_machines(corten: Client, tmp_path: Path, name: str) -> None:
    foreign.need(name)
    done = corten("run", "--rm", _imported(corten, name, tmp_path))
    assert done.out == f"{name}\n"
    assert f"The requested image's platform (linux/{name}" in done.err
    assert "does not match the detected host platform" in done.err
    asked = corten("run", "--rm", "--platform", f"linux/{name}", f"{name}:1")
    assert asked.out == f"{name}\n" and "requested image" not in asked.err


def test_the_emulator_is_registered_while_it_is_needed(
    corten: Client, daemon: Cortend, tmp_path: Path, without_registration: None
) -> None:
    foreign.need("arm64")
    image = _imported(corten, "arm64", tmp_path)
    assert "qemu-aarch64-static, which is registered" in corten("create", "--name", "foreign", image).err
    assert not _registered(), "a container that does not run needs none"
    native = tmp_path / "busybox"
    native.write_bytes(Path("/bin/busybox").read_bytes())
    native.chmod(0o755)
    mounted = ("-v", f"{native}:/busybox:ro")
    corten("run", "-d", "--name", "both", *mounted, image, "/busybox", "sleep", "1000")
    corten("run", "-d", "--name", "too", *mounted, image, "/busybox", "sleep", "1000")
    assert _registered() == {"corten-arm64"}
    corten("rm", "-f", "too")
    assert _registered() == {"corten-arm64"}
    assert corten.out("exec", "both", "/hello") == "arm64"
    corten("rm", "-f", "both", "foreign")


def test_without_an_emulator(corten: Client, tmp_path: Path) -> None:
    """There is none for it; the answer is the kernel's, with the reason."""
    tar = tmp_path / "tar"
    tar.write_bytes(foreign.layer("arm64").replace(b"\xb7\0", b"\xf0\xf0", 1))  # a machine that there is not
    corten("import", "--platform", "linux/wasm", "-c", 'CMD ["/hello"]', str(tar), "strange:1")
    done = corten("run", "--rm", "strange:1", code=126)
    assert "exec format error" in done.err and "there is no emulator for linux/wasm" in done.err


def test_another_platform_than_the_image_s(cli: Client, tmp_path: Path) -> None:
    _imported(cli, "arm64", tmp_path)
    done = cli("run", "--rm", "--platform", "linux/s390x", "arm64:1", code=125)
    assert "arm64:1" in done.err
