"""Kernels for guests: an image that QEMU loads, and the modules that belong to it.

A kernel is a directory as Debian's packages have it, unpacked anywhere:

    DIRECTORY/boot/vmlinuz-RELEASE
    DIRECTORY/lib/modules/RELEASE/kernel/**/NAME.ko[.gz|.xz]

`/` is one on a machine with a kernel package. Of the modules' dependencies nothing but the modules themselves is read
(`depends=` in the section .modinfo), so depmod(8) need not have run.
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from corten.errors import NotFound, Unsupported

_IMAGE = re.compile(r"vmlinuz-(\d+\.\d+.*)")
_LIBRARIES = ("lib/modules", "usr/lib/modules")
_SUFFIXES = (".ko", ".ko.gz", ".ko.xz", ".ko.zst")


class Kernel(NamedTuple):
    """`modules` is the directory of those of `release`."""

    release: str
    image: Path
    modules: Path

    @property
    def directory(self) -> Path:
        """In which it was found."""
        return self.image.parents[1]


def at(directory: Path) -> Kernel:
    """The newest one in `directory`. NotFound when there is none that has its modules."""
    found = list(_kernels(directory))
    if not found:
        raise NotFound(f"no kernel for guests in {directory}: it needs boot/vmlinuz-RELEASE and lib/modules/RELEASE")
    return max(found, key=lambda kernel: _order(kernel.release))


def find(places: Sequence[Path]) -> Kernel:
    """The one of the first place that has any. NotFound with the remedy."""
    for place in places:
        try:
            return at(place)
        except NotFound:
            continue
    raise NotFound(
        f"no kernel for guests in {', '.join(map(str, places))}: scripts/guest-kernel of the source fetches one, or "
        "unpack a package such as linux-image-cloud-amd64 (dpkg-deb -x) and name its directory as "
        "vm-kernel in daemon.json"
    )


def _kernels(directory: Path) -> Iterator[Kernel]:
    try:
        names = sorted(os.listdir(directory / "boot"))
    except OSError:
        return
    for name in names:
        match = _IMAGE.fullmatch(name)
        for library in _LIBRARIES if match else ():
            assert match is not None
            modules = directory / library / match[1]
            if (modules / "kernel").is_dir():
                yield Kernel(match[1], directory / "boot" / name, modules)
                break


def _order(release: str) -> tuple[tuple[int, str], ...]:
    """6.1.0-9 before 6.1.0-57."""
    return tuple((int(part), "") if part.isdigit() else (0, part) for part in re.findall(r"\d+|\D+", release))


def module_files(kernel: Kernel) -> dict[str, Path]:
    """By name, with underscores as the kernel has them."""
    found = {}
    for directory, _, files in os.walk(kernel.modules / "kernel"):
        for file in files:
            stem = file.partition(".ko")[0]
            if file.endswith(_SUFFIXES):
                found[_name(stem)] = Path(directory) / file
    return found


def in_order(files: Mapping[str, Path], names: Iterable[str]) -> list[str]:
    """`names` and what they depend on, each behind what it needs. What is built into the kernel has no file and is left
    out. Raises OSError, Unsupported."""
    order: dict[str, None] = {}
    waiting = [(_name(name), False) for name in reversed(list(names))]
    on_the_way: set[str] = set()
    while waiting:
        name, is_ready = waiting.pop()
        if is_ready:
            order[name] = None
        elif name in files and name not in on_the_way:
            on_the_way.add(name)
            waiting.append((name, True))
            waiting += [(other, False) for other in reversed(depends(content(files[name])))]
    return list(order)


def content(file: Path) -> bytes:
    """A module as finit_module(2) takes it. Unsupported where this Python cannot decompress it."""
    data = file.read_bytes()
    if file.suffix == ".xz":
        return lzma.decompress(data)
    if file.suffix == ".gz":
        return gzip.decompress(data)
    if file.suffix == ".zst":
        try:
            from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
        except ImportError:
            raise Unsupported(f"{file} is compressed by zstd, which needs Python 3.14: decompress it") from None
        raw: bytes = zstd.decompress(data)
        return raw
    return data


def depends(module: bytes) -> list[str]:
    """What a module says that it depends on."""
    match = re.search(rb"(?:^|\0)depends=([^\0]*)\0", module)
    return [_name(other) for other in match[1].decode().split(",") if other] if match else []


def _name(name: str) -> str:
    return name.replace("-", "_")
