"""Large images, made small."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from bench import __main__ as program
from bench import kept
from bench.measure import Failed

needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo makes the layout")


def fill(tree: Path) -> None:
    (tree / "file").write_bytes(os.urandom(1000))


def cannot(tree: Path) -> None:
    raise Failed("no Debian today")


@needs_skopeo
def test_made_once_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kept.LAYERS, "debian", (fill, fill))
    kept.make("debian", tmp_path)
    image = kept.find("debian", tmp_path)
    assert (image.facts.files, image.facts.layers) == (4, 2)
    assert image.archive.stat().st_size > image.facts.unpacked > image.facts.compressed > 2000
    assert image.biggest_blob().stat().st_size > 1000
    assert "2 layers" in image.description()
    before = image.archive.stat().st_mtime_ns
    kept.make("debian", tmp_path)
    assert image.archive.stat().st_mtime_ns == before
    assert os.listdir(tmp_path) == ["debian"]


def test_one_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kept.LAYERS, "debian", (cannot,))
    with pytest.raises(Failed, match="no Debian today"):
        kept.make("debian", tmp_path)
    with pytest.raises(Failed, match="there is no image 'debian'"):
        kept.find("debian", tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_quick_run_leaves_them_out_unless_asked_for() -> None:
    def chosen(*words: str) -> set[str]:
        return {work.name for work in program._chosen(program._parser().parse_args(words))}

    assert "image-pull" in chosen()
    assert "image-pull" not in chosen("--quick")
    assert chosen("--quick", "--only", "image-pull") == {"image-pull"}
