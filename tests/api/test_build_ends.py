"""What has been given back when a build's answer ends."""

from __future__ import annotations

import io
import tarfile
import time
from pathlib import Path

import pytest

from corten.build import contexts
from fakes.daemon import Connection, Daemon


@pytest.mark.parametrize("last", ["RUN true", "RUN false"])
@pytest.mark.parametrize("query", ["", "?version=2&session="])
def test_its_context_is_removed(
    http: Connection, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, last: str, query: str
) -> None:
    """However long that takes: files of the first layer are those of the context as well, and have one name then."""
    remove = contexts._remove
    began: list[str] = []

    def slow(root: Path, id: str) -> None:
        began.append(id)
        time.sleep(0.3)
        remove(root, id)

    monkeypatch.setattr(contexts, "_remove", slow)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in (("Dockerfile", f"FROM scratch\nCOPY a /\n{last}\n"), ("a", "x")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    status, _ = http.ask("POST", f"/build{query}", out.getvalue())
    assert status == 200
    assert began and not list((daemon.root / "build" / "contexts").iterdir())
