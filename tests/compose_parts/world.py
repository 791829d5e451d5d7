"""Files in a directory, loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from corten.compose.loader import Options, load
from corten.compose.model import Project, Service


class World:
    """`write` files, `load` the project; relative names are of the directory, in which the test runs."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        monkeypatch.chdir(directory)

    def write(self, text: str, name: str = "compose.yaml") -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def load(self, text: str = "", environ: Mapping[str, str] | None = None, **options: Any) -> Project:
        if text:
            self.write(text)
        return load(Options(environ={"HOME": "/home/user", **(environ or {})}, **options))

    def service(self, text: str, **options: Any) -> Service:
        """The service `a` of a file that says this about it, in flow style."""
        return self.load(f"services:\n  a: {text}\n", **options).services["a"]
