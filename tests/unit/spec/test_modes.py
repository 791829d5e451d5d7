"""Modes as chmod(1) reads them: the same as its own result."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from corten.errors import Invalid
from corten.spec.modes import parse

TEXTS = ("741", "0", "4755", "a+x", "go-w", "u=rw,go=r", "+x", "-x", "=r", "u+s,g+s", "g=u", "o-rwx", "a+X", "u+x,a+X",
         "u=rwx,g=rx,o=", "+t", "ug=rwx+s", "a-s", "u=g", "g=s")  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("before", [0o644, 0o755, 0o4751, 0o600, 0o2770])
def test_as_chmod(text: str, before: int, tmp_path: Path) -> None:
    for directory in (True, False):
        path = tmp_path / f"{directory}"
        path.mkdir() if directory else path.touch()
        path.chmod(before)
        subprocess.run(["sh", "-c", f"umask 0; chmod {text} {path}"], check=True)
        wanted = path.stat().st_mode & 0o7777
        if text.isdigit() and directory:
            wanted = int(text, 8)  # GNU's keeps a directory's set-ID bits; an octal mode here is the mode
        assert oct(parse(text).of(before, directory)) == oct(wanted), directory


@pytest.mark.parametrize("text", ["", "x", "u+z", "8", "77777", "u", "u+x,", "+x y"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(Invalid, match="invalid chmod parameter"):
        parse(text)
