"""The error of a system call that failed: its message, and what the log has besides."""

from __future__ import annotations

import ctypes
import errno
import traceback

import pytest

from corten.kernel import syscall


@pytest.mark.parametrize(
    ("arguments", "filename", "note"),
    [
        ((13, b"etc/passwd", b"\1\0\0\0", 24), "etc/passwd", "in call(13, 'etc/passwd', {4 bytes}, 24)"),
        ((27, b"", 14, b"", 68), None, "in call(27, '', 14, '', 68)"),
        ((5, b"key", b"value"), "value", "in call(5, 'key', 'value')"),
    ],
)
def test_the_call_is_a_note_and_no_part_of_the_message(
    arguments: tuple[object, ...], filename: str | None, note: str
) -> None:
    ctypes.set_errno(errno.ENOTDIR)
    error = syscall.failure("call", *arguments)
    assert isinstance(error, NotADirectoryError)
    assert (error.strerror, error.filename) == ("Not a directory", filename)
    assert note not in str(error)
    assert note in "".join(traceback.format_exception(error))
