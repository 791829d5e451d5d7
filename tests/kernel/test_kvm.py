"""The probe against this machine's KVM, and against what is none."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from corten.kernel import kvm


@pytest.fixture
def device() -> str:
    try:
        os.close(os.open(kvm.DEVICE, os.O_RDWR))
    except OSError as error:
        pytest.skip(f"this machine has no KVM: {error}")
    return kvm.DEVICE


def test_a_guest_of_ten_instructions_runs(device: str) -> None:
    assert 0 < kvm.measure(device) < 10


def test_the_probe_says_which_kvm_it_is(device: str) -> None:
    found = kvm.probe(device)
    if os.path.isdir("/sys/module/kvm_pvm"):
        assert found == kvm.Probe("pvm", "KVM by PVM interprets the kernels of guests")
    else:
        assert found.kind == "hardware"
        assert found.reason in ("KVM by VMX", "KVM by SVM")


def test_the_probe_takes_milliseconds(device: str) -> None:
    before = time.thread_time()
    kvm.probe(device)
    assert time.thread_time() - before < (0.5 if kvm.probe(device).kind == "pvm" else 0.005)


def test_nothing_is_left_of_it(device: str) -> None:
    kvm.probe(device)
    before = sorted(os.listdir("/proc/self/fd"))
    kvm.probe(device)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_interpreted_instructions_are_no_hardware(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm, "measure", lambda _: 0.0011)
    assert kvm.probe(device).kind == "pvm"
    monkeypatch.setattr(kvm, "measure", lambda _: 0.0002)
    assert kvm.probe(device).kind == "hardware"


def test_an_answer_that_is_wrong_is_no_kvm(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm, "_TEXT", b"6\n")
    found = kvm.probe(device)
    assert found.kind == "none"
    assert "ended with exit reason" in found.reason


def test_no_device(tmp_path: Path) -> None:
    found = kvm.probe(str(tmp_path / "kvm"))
    assert found.kind == "none"
    assert found.reason == f"{tmp_path}/kvm does not exist: no virtualization in this kernel or processor"


def test_a_file_is_no_device(tmp_path: Path) -> None:
    (tmp_path / "kvm").touch()
    found = kvm.probe(str(tmp_path / "kvm"))
    assert found.kind == "none"
    assert "does not work" in found.reason
