"""The `reference` filter of image lists."""

from __future__ import annotations

import pytest

from corten.errors import Invalid
from corten.images.name_patterns import named_like

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
    assert [name for name in (APP, USERS, THEIRS) if named_like([pattern])(name)] == found


@pytest.mark.parametrize(
    ("pattern", "found"),  # each seen with dockerd 20.10
    [
        ("busy[a-c]ox", True),
        ("busy[^a]ox", True),
        ("busy[^b]ox", False),
        ("busy[!a]ox", False),  # a class of two characters
        ("busy[!b]ox", True),
        (r"busy\box", True),
        (r"busy\[box", False),
        (r"busybox:1.\30", True),
        ("busybox:1.3?", True),
        ("busybox:1.?", False),
        ("b*x:1*0", True),
        ("busy[z-a]ox", False),
        ("busy{b}ox", False),
        ("BUSYBOX", False),
        ("busy", False),
        ("busybox]", False),
        ("**", True),
        ("*:*", True),
    ],
)
def test_patterns_are_go_s(pattern: str, found: bool) -> None:
    assert named_like([pattern])("docker.io/library/busybox:1.30") is found


@pytest.mark.parametrize(
    "pattern", ["[", "[]", "[a", "busy[]b]ox", "busy[b-]ox", "busy[-b]ox", "busybox\\", "x" * 5000]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(Invalid, match="pattern"):
        named_like([pattern])
