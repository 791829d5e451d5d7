"""A guest of another architecture: its Python is found beside its kernel, with the libraries that it needs."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from corten.errors import Corrupt, NotFound, Unsupported
from corten.guests import host
from corten.vm import architectures, elf, foreign
from corten.vm.architectures import ARCHITECTURES
from corten.vm.contract import Shape
from corten.vm.machine import Descriptors, line

NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"
BOOT = Descriptors(10, 11, 12, kernel=20, initramfs=21)


def _put(root: Path, path: str) -> Path:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """This machine's own shell in the place of Python: what it needs lies where a package of libraries has it."""
    program = Path(os.path.realpath("/bin/sh"))
    interpreter, libraries = elf.needs(program.read_bytes())
    if not interpreter:
        pytest.skip("needs a shell that is linked with libraries")
    shutil.copy(program, _put(tmp_path, f"/usr/bin/{NAME}"))
    for name in libraries:
        shutil.copy(_library(name), _put(tmp_path, f"/lib/{sys.platform}-gnu/{name}.real"))
        (tmp_path / f"lib/{sys.platform}-gnu" / name).symlink_to(f"{name}.real")
    shutil.copy(interpreter, _put(tmp_path, "/lib/theirs/loader"))
    _put(tmp_path, interpreter).symlink_to(f"{'../' * (interpreter.count('/') - 1)}lib/theirs/loader")
    for module in ("os.py", "json/decoder.py"):
        _put(tmp_path, f"/usr/lib/{NAME}/{module}").write_text("")
    return tmp_path


def _library(name: str) -> str:
    return next(
        os.path.join(place, name)
        for top in ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
        for place, _, files in os.walk(top)
        if name in files
    )


def test_what_it_needs_is_found_once(parts: Path) -> None:
    found = foreign.python(parts, ["os.py", "json/decoder.py"], ["_json"])
    assert (found.program, found.library) == (f"/usr/bin/{NAME}", f"/usr/lib/{NAME}")
    assert set(found.modules) == {"os.py", "json/decoder.py"}
    assert found.binaries[found.program] == parts / f"usr/bin/{NAME}"
    assert all(file.is_file() and not file.is_symlink() for file in found.binaries.values())
    interpreter, libraries = elf.needs(Path(os.path.realpath("/bin/sh")).read_bytes())
    links = dict(found.links)
    assert links[interpreter] == "/lib/theirs/loader" in found.binaries
    for name in libraries:
        assert links[f"/lib/{sys.platform}-gnu/{name}"] == f"/lib/{sys.platform}-gnu/{name}.real" in found.binaries


def test_what_is_missing_is_named(parts: Path) -> None:
    with pytest.raises(Unsupported, match=r"no re\.py: unpack its standard library"):
        foreign.python(parts, ["re.py"], [])
    shutil.rmtree(parts / f"lib/{sys.platform}-gnu")
    with pytest.raises(Unsupported, match=r"has no \S+\.so\S*, which its Python needs"):
        foreign.python(parts, [], [])
    shutil.rmtree(parts / "usr/bin")
    with pytest.raises(NotFound, match="scripts/guest-kernel of the source fetches one"):
        foreign.python(parts, [], [])


def test_links_without_an_end(parts: Path) -> None:
    (parts / f"usr/bin/{NAME}").unlink()
    (parts / f"usr/bin/{NAME}").symlink_to(NAME)
    (parts / "usr/bin/other").write_bytes(b"")
    with pytest.raises((Unsupported, NotFound)):
        foreign.python(parts, [], [])


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF" + bytes(60), b"\x7fELF\2\1" + b"\xff" * 200])
def test_what_is_no_elf_file(data: bytes) -> None:
    with pytest.raises(Corrupt, match="no ELF file of 64 bits"):
        elf.needs(data)


@pytest.mark.parametrize("row", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_its_machine(row: architectures.Architecture) -> None:
    shape = Shape(f"/usr/bin/{row.program}", "tcg", 256 << 20, 4 << 30, 1, architecture=row.name)
    words = line(shape, BOOT).arguments
    assert words[0].endswith(row.program)
    assert words[words.index("-machine") + 1] == f"{row.machine},memory-backend=ram"
    assert words[words.index("-cpu") + 1] == row.emulated
    asked = words[words.index("-append") + 1].split()
    assert {f"console={row.console}", "panic=-1", "mitigations=off", *row.words.split()} <= {*asked}


def test_one_that_there_are_no_guests_of() -> None:
    assert architectures.of_platform("arm64") == "aarch64"
    with pytest.raises(Unsupported, match="guests are amd64 or arm64, not riscv64"):
        architectures.of_platform("riscv64")
    with pytest.raises(Unsupported, match="guests are x86_64 or aarch64, not riscv64"):
        architectures.architecture("riscv64")


def test_its_kernel_lies_beside_this_machines(tmp_path: Path) -> None:
    other = next(name for name in ARCHITECTURES if name != host.HERE)
    beside = tmp_path / f"kernel-{ARCHITECTURES[other].go}"
    for place, release in ((tmp_path / "kernel", "6.1.0-here"), (beside, "6.1.0-there")):
        (place / "boot").mkdir(parents=True)
        (place / f"boot/vmlinuz-{release}").write_bytes(b"")
        (place / f"lib/modules/{release}/kernel").mkdir(parents=True)
    configured = str(tmp_path / "kernel")
    assert host.kernel(configured)[0].release == "6.1.0-here"
    kernel, place = host.kernel(configured, other)
    assert (kernel.release, place, kernel.directory) == ("6.1.0-there", beside, beside)


def test_processors_are_plugged_in_where_that_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert host.shape("qemu", "tcg", machine="x86_64").max_cpus == 4
    assert host.shape("qemu", "tcg", machine="aarch64").max_cpus == 1
