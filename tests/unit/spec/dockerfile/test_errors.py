"""How an error is shown."""

from __future__ import annotations

import pytest

from corten.errors import Invalid
from corten.spec.dockerfile.errors import DockerfileError, boxed, pointed
from corten.spec.dockerfile.span import Span
from dockerfile_parts.files import file

TEXT = "FROM a\n\nRUN b\nCOPY \\\n  --form=x \\\n  a b\nRUN c\nRUN d\nRUN e\n"


def _error(text: str) -> DockerfileError:
    with pytest.raises(DockerfileError) as error:
        file(text)
    return error.value


def test_an_error_has_a_place_and_is_invalid() -> None:
    error = _error("FROM a\n  FOO b\n")
    assert isinstance(error, Invalid)
    assert (error.line, error.column, error.end) == (2, 3, 2)
    assert _error(TEXT).span == Span(4, 1, 6)


def test_the_box_of_buildx() -> None:
    error = _error(TEXT)
    assert str(error) == "dockerfile parse error on line 4: unknown flag: --form (did you mean from?)"
    assert boxed(TEXT.split("\n"), error.span) == (
        "Dockerfile:4\n"
        "--------------------\n"
        "   3 |     RUN b\n"
        "   4 | >>> COPY \\\n"
        "   5 | >>>   --form=x \\\n"
        "   6 | >>>   a b\n"
        "   7 |     RUN c\n"
        "--------------------\n"
    )


def test_the_box_of_one_line() -> None:
    assert boxed(["a", "b", "c", "d", "e", "f"], Span(3), "x/Dockerfile") == (
        "x/Dockerfile:3\n"
        "--------------------\n"
        "   1 |     a\n"
        "   2 |     b\n"
        "   3 | >>> c\n"
        "   4 |     d\n"
        "   5 |     e\n"
        "--------------------\n"
    )
    assert boxed(["a"], Span(1)).splitlines()[2:-1] == ["   1 | >>> a"]
    assert boxed(["a"], Span(7)) == ""


def test_the_pointer() -> None:
    assert pointed(TEXT.split("\n"), _error(TEXT)) == (
        "Dockerfile:5:3: dockerfile parse error on line 4: unknown flag: --form (did you mean from?)\n"
        "    5 |   --form=x \\\n"
        "      |   ^~~~~~\n"
    )
    assert pointed(["\tFOO b"], _error("\tFOO b")).splitlines()[1:] == ["    1 |     FOO b", "      |     ^~~"]
    text = "FROM a\n  USER\n"
    assert pointed(text.split("\n"), _error(text)).splitlines()[1:] == ["    2 |   USER", "      |   ^~~~"]
