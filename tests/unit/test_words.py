"""docs/words.md: at most twenty words, and each stands in the module that the page names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| ([a-z ]+) \| [^|]+ \| `([a-z0-9_.]+)` \|$", re.MULTILINE)
WORDS = _ROW.findall((PROJECT / "docs" / "words.md").read_text())


def test_at_most_twenty() -> None:
    assert 15 <= len(WORDS) <= 20 and len(dict(WORDS)) == len(WORDS)


@pytest.mark.parametrize(("word", "module"), WORDS, ids=[word for word, _ in WORDS])
def test_its_module_is_there_and_has_the_word(word: str, module: str) -> None:
    top = PROJECT / ("src" if module.startswith("corten") else "tests")
    path = top.joinpath(*module.split("."))
    if path.is_dir():
        assert (path / "__init__.py").is_file()
        return
    text = path.with_suffix(".py")
    assert word.split()[0] in f"{text.name} {text.read_text()}".lower()
