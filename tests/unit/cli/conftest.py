from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.cli.main import main
from unit.cli.scripted import Daemon, daemon_at

Outcome = tuple[int, str, str]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with daemon_at(tmp_path / "d.sock") as found:
        yield found


@pytest.fixture
def corten(
    daemon: Daemon, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Run the command in this process against the scripted daemon: (exit code, output, errors)."""
    monkeypatch.setenv("CORTEN_HOST", daemon.url)
    monkeypatch.setenv("HOME", str(daemon.path.parent))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)

    def call(*words: str) -> Outcome:
        code = main(list(words))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call
