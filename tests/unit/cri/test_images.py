"""Images as Kubernetes lists them: one that says odd things fails no list."""

from __future__ import annotations

import pytest

from corten.cri.images import _image
from corten.spec.protobuf import cri
from corten.spec.user_numbers import number


@pytest.mark.parametrize(
    ("user", "uid", "name"),
    [
        ("", 0, ""),
        ("0:0", 0, ""),
        ("1000", 1000, ""),
        ("4294967294", 4294967294, ""),
        ("4294967295", None, "4294967295"),
        ("name:7", None, "name"),
        ("9" * 5000, None, "9" * 5000),
        ("\u0663" * 5000, None, "\u0663" * 5000),
        ("1e3", None, "1e3"),
        ("-1", None, "-1"),
    ],
)
def test_the_user_of_an_image(user: str, uid: int | None, name: str) -> None:
    shown = cri.Image.decode(_image({"Id": "sha256:1", "Config": {"User": user}}).encode())
    assert (shown.uid.value if shown.uid is not None else None, shown.username) == (uid, name)


def test_numbers() -> None:
    assert [number(text) for text in ("7", "007", "", "\u0663", "4294967295", "9" * 5000)] == [7, 7, *[None] * 4]
