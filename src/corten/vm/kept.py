"""Templates on the disk, so that a daemon that was restarted need not boot one.

    kept.store(template, directory, key)       # KEY.memory, KEY.state, KEY.sum; what other keys had is removed
    kept.is_there(directory, key)              # without a look into it
    kept.load(directory, key, shape)           # None when there is none that is whole

What is on the disk is a cache: it is believed when both files have the digest that was written behind them, and else a
guest boots again.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from corten.kernel import memfd
from corten.vm.contract import Shape
from corten.vm.template import Template

_MEMORY, _STATE, _SUM, _FRESH = ".memory", ".state", ".sum", ".new"
_PIECE = 1 << 20


def store(template: Template, directory: Path, key: str) -> None:
    """OSError; then nothing of it is left."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_others(directory, key)
    total = memfd.holding("sum", [digest(template).encode()])
    try:
        for fd, suffix in ((template.memory, _MEMORY), (template.state, _STATE), (total, _SUM)):
            _write(fd, directory / f"{key}{suffix}")
    except BaseException:
        remove_others(directory, "")
        raise
    finally:
        os.close(total)


def is_there(directory: Path, key: str) -> bool:
    """Whether there is one; not whether it is whole."""
    return (directory / f"{key}{_SUM}").exists()


def load(directory: Path, key: str, shape: Shape) -> Template | None:
    """Sealed files in memory, the caller's to close. OSError."""
    try:
        expected = (directory / f"{key}{_SUM}").read_text(encoding="ascii")
        memory = _read(directory / f"{key}{_MEMORY}")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    try:
        state = _read(directory / f"{key}{_STATE}")
    except BaseException as error:
        os.close(memory)
        if isinstance(error, FileNotFoundError):
            return None
        raise
    found = Template(memory, state)
    if os.fstat(memory).st_size == shape.memory and digest(found) == expected:
        return found
    for fd in found:
        os.close(fd)
    return None


def digest(template: Template) -> str:
    """Of both files, whichever of their zeros are holes."""
    total, nothing = hashlib.sha256(), bytes(_PIECE)
    for fd in template:
        for start in range(0, os.fstat(fd).st_size, _PIECE):
            if (piece := os.pread(fd, _PIECE, start)) != nothing:
                total.update(b"%d %d\n" % (start, len(piece)))
                total.update(piece)
    return total.hexdigest()


def remove_others(directory: Path, key: str) -> None:
    """All but what `key` names, also what a store that was killed has left."""
    for path in directory.iterdir():
        if path.name not in (f"{key}{_MEMORY}", f"{key}{_STATE}", f"{key}{_SUM}"):
            path.unlink(missing_ok=True)


def _write(fd: int, path: Path) -> None:
    """Beside its place, synced, renamed."""
    fresh = path.with_name(path.name + _FRESH)
    target = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(target, os.fstat(fd).st_size)
        _copy(fd, target)
        os.fsync(target)
    finally:
        os.close(target)
    fresh.rename(path)


def _read(path: Path) -> int:
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        copy = memfd.empty(f"guest{path.suffix}", os.fstat(source).st_size)
        try:
            _copy(source, copy)
            memfd.seal(copy)
        except BaseException:
            os.close(copy)
            raise
    finally:
        os.close(source)
    return copy


def _copy(source: int, target: int) -> None:
    """What is no hole. The offset of `source` may be another process's, and stays."""
    size, end = os.fstat(source).st_size, 0
    own = os.open(f"/proc/self/fd/{source}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while end < size:
            try:
                start = os.lseek(own, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole is left
                    return
                raise
            end = os.lseek(own, start, os.SEEK_HOLE)
            os.lseek(target, start, os.SEEK_SET)
            while start < end:
                sent = os.sendfile(target, own, start, end - start)
                if not sent:
                    raise OSError(errno.EIO, f"{os.strerror(errno.EIO)}: a template has become shorter")
                start += sent
    finally:
        os.close(own)
