"""Memory and processors that the guest's kernel takes into use by itself, while the agent does."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.guest import machine


@pytest.fixture
def block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that is offline; its `state` cannot be written to, as the kernel has it under way."""
    monkeypatch.setattr(machine, "_MEMORY", str(tmp_path))
    made = tmp_path / "memory7"
    made.mkdir()
    (made / "online").write_text("0\n")
    (made / "state").mkdir()  # a write fails
    return made


def test_a_block_that_the_kernel_has_taken_meanwhile(block: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter((b"0", b"1"))
    monkeypatch.setattr(machine, "_content", lambda path: next(seen))
    machine.Own().take_memory("memory7")
    assert next(seen, None) is None


def test_a_block_that_it_has_not(block: Path) -> None:
    with pytest.raises(OSError, match="memory7/state: is a directory"):
        machine.Own().take_memory()


def test_one_that_is_in_use_is_left_alone(block: Path) -> None:
    (block / "online").write_text("1\n")
    machine.Own().take_memory()
