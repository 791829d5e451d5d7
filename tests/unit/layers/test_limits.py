from __future__ import annotations

import pytest

from corten.layers.limits import quoted


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"a/b", "'a/b'"),
        ("é".encode(), "'é'"),
        (b"\xff\x1b[31m", "'\\\\xff\\x1b[31m'"),
        (b"a" * 5000, "'" + "a" * 200 + "'"),
    ],
)
def test_names_in_messages(name: bytes, shown: str) -> None:
    assert quoted(name) == shown
