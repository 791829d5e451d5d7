"""Limits of block devices (`blkio_config`)."""

from __future__ import annotations

from typing import ClassVar

from corten.compose.model.scalars import Bytes
from corten.compose.model.struct import Struct


class WeightDevice(Struct, frozen=True, kw_only=True):
    always: ClassVar[frozenset[str]] = frozenset(("path", "weight"))

    path: str = ""
    weight: int = 0


class ThrottleDevice(Struct, frozen=True, kw_only=True):
    always: ClassVar[frozenset[str]] = frozenset(("path", "rate"))

    path: str = ""
    rate: Bytes = Bytes(0)
    """Bytes or operations a second."""


class Blkio(Struct, frozen=True, kw_only=True):
    weight: int = 0
    weight_device: tuple[WeightDevice, ...] = ()
    device_read_bps: tuple[ThrottleDevice, ...] = ()
    device_read_iops: tuple[ThrottleDevice, ...] = ()
    device_write_bps: tuple[ThrottleDevice, ...] = ()
    device_write_iops: tuple[ThrottleDevice, ...] = ()
