from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import foreign
from corten.kernel import binfmt
from corten.spec.platform import Platform, parse
from corten.spec.platform import foreign as is_foreign
from corten.tasks import emulation as module
from corten.tasks.emulation import NATIVE, emulation

STATIC = bytes.fromhex("7f454c46020101000000000000000000020003") + bytes(45)  # ELF, no table of segments
AMD64 = Platform("linux", "amd64")


@pytest.fixture
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_registered", list)
    monkeypatch.setattr("corten.spec.platform.host", lambda: AMD64)


def _emulator(directory: Path, name: str, content: bytes = STATIC) -> Path:
    path = directory / name
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_what_a_processor_runs_itself() -> None:
    arm64 = Platform("linux", "arm64")
    assert not any(is_foreign(parse(name), AMD64) for name in ("linux/amd64", "linux/amd64/v3", "linux/386"))
    assert not is_foreign(parse("linux/arm/v7"), arm64) and not is_foreign(None, arm64)
    assert all(is_foreign(parse(name), AMD64) for name in ("linux/arm64", "linux/arm/v6", "linux/s390x"))
    assert is_foreign(AMD64, arm64) and is_foreign(parse("linux/386"), arm64)


def test_nothing_is_needed_for_what_the_processor_runs(nothing_registered: None, tmp_path: Path) -> None:
    for platform in (None, AMD64, parse("linux/386")):
        assert emulation(platform, str(tmp_path)) is NATIVE


def test_the_package_is_named_where_there_is_no_emulator(nothing_registered: None, tmp_path: Path) -> None:
    found = emulation(parse("linux/arm64"), str(tmp_path))
    assert not found.lines and found.missing.endswith("install qemu-user-static"), found
    assert "linux/arm64" in found.missing
    assert emulation(parse("linux/wasm"), str(tmp_path)).missing == "there is no emulator for linux/wasm"


def test_an_emulator_with_libraries_of_its_own_is_none(nothing_registered: None, tmp_path: Path) -> None:
    linked = bytearray(STATIC + (3).to_bytes(4, "little") + bytes(52))  # one segment: PT_INTERP
    linked[32:40] = (64).to_bytes(8, "little")
    linked[54:58] = (56).to_bytes(2, "little") + (1).to_bytes(2, "little")
    _emulator(tmp_path, "qemu-aarch64", bytes(linked))
    assert emulation(parse("linux/arm64"), str(tmp_path)).missing
    plain = _emulator(tmp_path, "qemu-s390x")
    assert emulation(parse("linux/s390x"), str(tmp_path)).interpreter == str(plain)


@pytest.mark.parametrize("name", foreign.NAMES)
def test_lines_are_of_programs_of_the_machine(nothing_registered: None, tmp_path: Path, name: str) -> None:
    machine = module._MACHINES[name]
    path = _emulator(tmp_path, f"qemu-{machine.qemu}-static")
    (line,) = emulation(parse(f"linux/{name}"), str(tmp_path)).lines
    _, own, kind, offset, magic, mask, interpreter, flags = line.split(":")
    assert (own, kind, offset, interpreter, flags) == (f"corten-{name}", "M", "", str(path), "OCFP")
    magic, mask = (text.replace("\\x", "") for text in (magic, mask))
    entry = binfmt.Entry(own, True, interpreter, True, 0, bytes.fromhex(magic), bytes.fromhex(mask))
    for other in foreign.NAMES:
        assert entry.takes(foreign.program(other)) == (other == name)
    with open("/proc/self/exe", "rb") as file:
        assert not entry.takes(file.read(64)) or os.uname().machine != "x86_64"


def test_what_the_machine_has_registered_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "enabled\ninterpreter /usr/libexec/q\nflags: {}\noffset 0\nmagic 7f454c46\nmask ffffffff\n"
    fixed = binfmt.entry("qemu-aarch64", text.format("POCF"))
    assert fixed.takes(foreign.program("arm64"))
    assert not binfmt.entry("q", text.format("OC")).takes(foreign.program("arm64")), "no container has its interpreter"
    assert not binfmt.entry("q", text.format("F").replace("enabled", "disabled")).takes(foreign.program("arm64"))
    by_name = binfmt.entry("q", "enabled\ninterpreter /x\nflags: F\nextension .jar\n")
    assert not by_name.takes(foreign.program("arm64"))
    monkeypatch.setattr("corten.spec.platform.host", lambda: AMD64)
    for entries, missing in (([fixed], False), ([], True)):
        monkeypatch.setattr(module, "_registered", lambda entries=entries: entries)
        assert bool(emulation(parse("linux/arm64"), str(tmp_path)).missing) == missing


def test_our_own_entries_go_with_their_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    other = binfmt.Entry("qemu-s390x", True, "/x", True, 0, b"x", b"x")
    listed = [other, other._replace(name="corten-s390x")]
    monkeypatch.setattr(binfmt, "mounted", lambda: os.open("/", os.O_PATH))
    monkeypatch.setattr(binfmt, "entries", lambda fd: iter(listed))
    assert module._registered() == [other]


def test_a_kernel_without_binfmt_misc(monkeypatch: pytest.MonkeyPatch) -> None:
    def mounted() -> int:
        raise OSError(errno.ENODEV, "cannot mount binfmt_misc: no such device")

    monkeypatch.setattr("corten.spec.platform.host", lambda: AMD64)
    monkeypatch.setattr(binfmt, "mounted", mounted)
    assert emulation(parse("linux/arm64")).missing.endswith("the kernel has no binfmt_misc")
    assert module.emulated() == []
