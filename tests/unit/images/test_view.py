"""The `reference` filter of image lists."""

from __future__ import annotations

import pytest

from corten.images.view import matches

APP, USERS, THEIRS = "docker.io/library/app:1", "docker.io/user/app:1", "host.example:5000/library/app:1"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("app", [APP]),
        ("app:1", [APP]),
        ("app:2", []),
        ("docker.io/library/app", [APP]),
        ("docker.io/library/a*:[12]", [APP]),
        ("docker.io/app", [APP]),
        ("index.docker.io/library/app:1", [APP]),
        ("library/app", []),  # as with dockerd: this is a user's
        ("docker.io/user/app", [USERS]),
        ("docker.io/*/app", [USERS]),
        ("*/*", [USERS]),
        ("*/*/*", [THEIRS]),
        ("host.example:5000/library/app", [THEIRS]),
        ("docker.io/library/app/x", []),
    ],
)
def test_a_pattern_and_a_name_are_compared_in_their_short_form(pattern: str, found: list[str]) -> None:
    assert [name for name in (APP, USERS, THEIRS) if matches(name, [pattern])] == found
