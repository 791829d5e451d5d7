"""What a client gets of an error of the kernel: words and a path, neither Python's nor a system call's form."""

from __future__ import annotations

import errno
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
    assert "openat2" in str(raised.value) and message(raised.value) == "No such file or directory"


@pytest.mark.parametrize("name", ["/a/b", b"/a/b"])
def test_a_path_is_shown_as_one(name: str | bytes) -> None:
    assert message(OSError(errno.EACCES, os.strerror(errno.EACCES), name)) == "Permission denied: /a/b"


def test_words_of_ours_are_kept() -> None:
    assert message(OSError(errno.EIO, "cannot open the tree: in the middle")) == "cannot open the tree: in the middle"
    assert message(OSError(errno.ENOSPC, "No space left on device in write(3, '', 1)")) == "no space left on device"
