"""Control files that the kernel does not take."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from corten.errors import Invalid
from corten.kernel import cgroupfs
from corten.runtime.cgroups import v1, v2, words
from corten.spec.json import Json

Controller = Callable[[int, Json, list[str]], None]
WEIGHTS = {"blockIO": {"weightDevice": [{"major": 254, "minor": 0, "weight": 300}]}}
LIMITS = {"blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 8, "rate": 1024}]}}


def refuse(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def write(directory: int, file: str, *values: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(cgroupfs, "write", write)


@pytest.mark.parametrize("set_limits", [v1.blkio, v2.io])
def test_weights_of_a_device_whose_scheduler_has_none(set_limits: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, errno.EOPNOTSUPP)
    warnings: list[str] = []
    set_limits(0, WEIGHTS, warnings)
    assert warnings == [words.WEIGHT_DEVICE]
    with pytest.raises(OSError):  # what is no weight is not dropped
        set_limits(0, LIMITS, warnings)


@pytest.mark.parametrize("set_limits", [v1.blkio, v2.io])
def test_a_limit_that_is_refused(set_limits: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, errno.ENODEV)
    with pytest.raises(Invalid, match=r"the kernel does not take 1:8 .* for .*: no such device$"):
        set_limits(0, LIMITS, [])
