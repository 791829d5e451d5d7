"""What a client gets of an error of the kernel, words and a path; and what the log has of it."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from corten.api.errors import message
from corten.kernel import paths


def test_an_error_of_a_system_call(tmp_path: Path) -> None:
    root = os.open(tmp_path, os.O_PATH)
    try:
        with pytest.raises(OSError) as raised:
            paths.open_in(root, "a/b")
    finally:
        os.close(root)
    assert "openat2" in raised.value.__notes__[0] and message(raised.value) == "No such file or directory: a/b"


@pytest.mark.parametrize("name", ["/a/b", b"/a/b"])
def test_a_path_is_shown_as_one(name: str | bytes) -> None:
    assert message(OSError(errno.EACCES, os.strerror(errno.EACCES), name)) == "Permission denied: /a/b"


def test_a_descriptor_is_no_path(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file, pytest.raises(OSError) as raised:
        os.setxattr(file.fileno(), "security.capability", b"none")
    assert isinstance(raised.value.filename, int) and message(raised.value) == "Invalid argument"


def test_words_of_ours_are_kept() -> None:
    assert message(OSError(errno.EIO, "cannot open the tree: in the middle")) == "cannot open the tree: in the middle"
    assert message(OSError(errno.ENOSPC, "No space left on device")) == "no space left on device"


@pytest.mark.parametrize(
    ("error", "level", "traced", "answer"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/d/x"),
            logging.WARNING,
            False,
            "no space left on device: /d/x",
        ),
        (OSError(errno.EMFILE, "Too many open files"), logging.WARNING, False, "Too many open files"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), logging.DEBUG, False, "Connection reset"),
        (OSError(errno.EINVAL, "Invalid argument"), logging.WARNING, True, "Invalid argument"),
        (ValueError("x"), logging.ERROR, True, "internal error: ValueError: x"),
    ],
)
def test_the_log(caplog: pytest.LogCaptureFixture, error: BaseException, level: int, traced: bool, answer: str) -> None:
    caplog.set_level(logging.DEBUG, "corten")
    assert message(error).startswith(answer)
    [record] = caplog.records
    assert (record.levelno, bool(record.exc_info)) == (level, traced)
