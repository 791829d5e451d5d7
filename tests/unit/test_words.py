"""docs/words.md: at most twenty words, each in the module that the page names; no persons in code, tests and pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| ([a-z ]+) \| [^|]+ \| `([a-z0-9_.]+)` \|$", re.MULTILINE)
_PERSONS = re.compile(
    r"(?<![a-z])((no|some|every|any)body(s|'s)?|everyone|someone|who(m|se)?ever|he|him|his|she|her|told|born|died|dies|wish(es)?"
    r"|mend(s|ed|ing)?|lets? go)(?![a-z])",
    re.IGNORECASE,
)
_TEXTS = (".py", ".md", ".service", "")
# Where the account of that name is meant, and names that dockerd's recorded answers repeat.
_NOBODY = {
    "src/corten/images/builtin.py",
    "src/corten/images/registry_image.py",
    "tests/e2e/test_debian.py",
    "tests/e2e_parts/critest_images.py",
    "tests/hostile/test_profile.py",
    "tests/unit/plan/dockerd_cases.py",
    "tests/unit/plan/test_validate_dockerd.py",
    "tests/unit/runtime/test_identity.py",
}
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


def _texts() -> list[Path]:
    rooms = [PROJECT / name for name in ("src", "tests", "bench", "docs", "packaging", "scripts")]
    found = [path for room in rooms for path in room.rglob("*") if path.is_file() and path.suffix in _TEXTS]
    return [path for path in (*found, *PROJECT.glob("*.md")) if path != Path(__file__)]


def test_no_persons() -> None:
    found = []
    for path in _texts():
        name = path.relative_to(PROJECT).as_posix()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            persons = [match[0] for match in _PERSONS.finditer(line)]
            if any(person != "nobody" or name not in _NOBODY for person in persons):
                found.append(f"{name}:{number}: {line.strip()}")
    assert not found, "\n".join(found)
