"""Images for other machines, run by QEMU's user mode emulation, which is registered while they run."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

import foreign
from corten.kernel import binfmt
from e2e_parts.clients import CORTEN, Client
from e2e_parts.cortend import Cortend
from fault_parts.fragile import Fragile, until

pytestmark = pytest.mark.usefixtures("no_images_left")


ALONE = "ppc64le"  # the machine that tests of other files, which may run meanwhile, have nothing to do with


def _registered() -> bool:
    """Whether the kernel has an emulator for that machine from us."""
    fd = binfmt.mounted()
    try:
        return f"corten-{ALONE}" in {entry.name for entry in binfmt.entries(fd)}
    finally:
        os.close(fd)


def _gone() -> bool:
    """Whether it is not; a supervisor ends behind the answer to the removal of its container."""
    return not _registered()


def _imported(client: Client, name: str, root: Path, command: str = '["/hello"]') -> str:
    """An image with the machine's program at /hello."""
    tar = root / f"{name}.tar"
    tar.write_bytes(foreign.layer(name))
    client("import", "--platform", f"linux/{name}", "-c", f"CMD {command}", str(tar), f"{name}:1")
    return f"{name}:1"


@pytest.fixture
def without_registration() -> None:
    """Skips where the machine has emulators registered itself: then there is nothing that we register."""
    fd = binfmt.mounted()
    try:
        if any(entry.takes(foreign.program(ALONE)) for entry in binfmt.entries(fd)):
            pytest.skip("this machine has emulators registered")
    finally:
        os.close(fd)


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
    foreign.need(ALONE)
    image = _imported(corten, ALONE, tmp_path)
    assert "-static, which is registered with the kernel" in corten("create", "--name", "foreign", image).err
    assert not _registered(), "a container that does not run needs none"
    for name in ("one", "other"):
        corten("run", "-d", "--name", name, "-v", "/bin/busybox:/busybox:ro", image, "/busybox", "sleep", "1000")
        assert _registered()
    corten("rm", "-f", "other")
    assert corten.out("exec", "one", "/hello") == ALONE, "what is left holds it too"
    corten("rm", "-f", "one", "foreign")
    until(_gone, "the emulator is registered no longer")


def test_it_stays_registered_without_the_daemon(tmp_path: Path, without_registration: None) -> None:
    foreign.need(ALONE)
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    root.chmod(0o755)
    daemon = Fragile(root)
    daemon.start()
    try:
        client = Client("corten", CORTEN, daemon.address, root)
        image = _imported(client, ALONE, tmp_path)
        client("run", "-d", "--name", "on", "-v", "/bin/busybox:/busybox:ro", image, "/busybox", "sleep", "1000")
        daemon.kill()
        assert _registered(), "the container goes on"
        daemon.start()
        assert client.out("exec", "on", "/hello") == ALONE
        client("rm", "-f", "on")
        until(_gone, "the emulator is registered no longer")
    finally:
        daemon.stop()
        shutil.rmtree(root, ignore_errors=True)


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
