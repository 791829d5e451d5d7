"""What helpers say of a tree that changes under them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.supervisor import trees


@pytest.mark.parametrize("now", ["file", "nothing"])
def test_a_link_that_is_none_any_more(tmp_path: Path, now: str) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        dirfd, name, status = trees._find(root, "/link")
        (tmp_path / "link").unlink()
        if now == "file":
            (tmp_path / "link").touch()
        assert trees._stat(root, "/link", dirfd, name, status)["linkTarget"] == ""
        os.close(dirfd)
    finally:
        os.close(root)
