"""docs/threats.md: every id that code and tests cite is explained there, and what it points at is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "threats.md").read_text()
_ID = re.compile(r"\b(?:API|BLD|CP|DOS|ESC|IMG|NET|PY|REG|VM)-[0-9]{2}\b")
# As in "ESC-06 to 09", "DOS-01, 02": ids that no search finds.
_SHORT = re.compile(rf"{_ID.pattern}(?:,| to| and) [0-9]{{2}}\b")
_ROW = re.compile(r"\| ([A-Z]+-[0-9]{2}) \|.*\|")
_TEST = re.compile(r"`((?:[a-z0-9_]+/)+test_[a-z0-9_]+\.py)(?:::(test_[a-z0-9_]+))?`")
_CODE = re.compile(r"`((?:[a-z_]+/)+[a-z_]+\.py)`")


def rows() -> dict[str, str]:
    """id to its row."""
    found = [(match[1], match[0]) for line in PAGE.splitlines() if (match := _ROW.fullmatch(line))]
    assert len(dict(found)) == len(found), "an id has two rows"
    return dict(found)


def sources() -> Iterator[tuple[Path, str]]:
    for top in ("src", "tests"):
        for path in sorted((PROJECT / top).rglob("*.py")):
            if path != Path(__file__):
                yield path.relative_to(PROJECT), path.read_text()


def test_every_id_that_is_cited_is_explained() -> None:
    cited = {id: path for path, text in sources() for id in _ID.findall(text)}
    assert len(cited) > 40 and not {id: path for id, path in cited.items() if id not in rows()}


def test_ids_are_written_out() -> None:
    assert not [(path, match[0]) for path, text in sources() for match in [_SHORT.search(text)] if match]


def test_every_row_names_a_test_that_is_there() -> None:
    for id, row in rows().items():
        assert any(function for _, function in _TEST.findall(row)), f"{id} is shown by no test"


@pytest.mark.parametrize(("file", "function"), sorted(set(_TEST.findall(PAGE))))
def test_tests_that_are_named(file: str, function: str) -> None:
    path = PROJECT / "tests" / file
    assert path.is_file() and (
        not function or re.search(rf"^(?:async )?def {function}\(", path.read_text(), re.MULTILINE)
    )


@pytest.mark.parametrize("file", sorted({name for name in _CODE.findall(PAGE) if "/test_" not in name}))
def test_code_that_is_named(file: str) -> None:
    assert (PROJECT / "src" / "corten" / file).is_file()
