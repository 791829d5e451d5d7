"""What stands in the place of a file that is read whole: a link to an endless device, as a checkout may have."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.cli import buildcaches, buildsources, smallfiles
from corten.cli.compose import classic, watching
from corten.cli.errors import CommandError
from corten.cli.options import security, texts

ENDLESS = "/dev/zero"


def test_a_file_at_the_bound(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * smallfiles.MOST)
    assert len(smallfiles.content(str(tmp_path / "f"))) == smallfiles.MOST
    with (tmp_path / "f").open("ab") as file:
        file.write(b"x")
    with pytest.raises(OSError, match="larger than 4194304 bytes"):
        smallfiles.content(str(tmp_path / "f"))


def test_endless_files_are_refused(tmp_path: Path) -> None:
    for name in ("Dockerfile", ".dockerignore", "index.json"):
        (tmp_path / name).symlink_to(ENDLESS)
    directory = str(tmp_path)
    for read in (
        lambda: buildsources.sources(directory, "", {}),
        lambda: texts.environment([ENDLESS], ()),
        lambda: texts.labels([ENDLESS], ()),
        lambda: security._profile(ENDLESS),
        lambda: classic._patterns(directory, "Dockerfile"),
        lambda: buildcaches._index(directory),
    ):
        with pytest.raises(CommandError, match="larger than 4194304 bytes"):
            read()
    assert watching._left_out(directory) is None
