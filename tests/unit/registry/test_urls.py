"""URLs that settings and requests name: which of them are taken."""

from __future__ import annotations

import pytest

from corten.registry.client.urls import completed, is_url


@pytest.mark.parametrize(
    "text", ["http://h", "https://h:5000/path?a=b#c", "HTTP://h", "http://u:p@h", "http://[::1]:1/", "https://xn--a.b"]
)
def test_urls(text: str) -> None:
    assert is_url(text)


@pytest.mark.parametrize(
    "text",
    ["", "h", "h:5000", "ftp://h", "file:///etc/passwd", "http://", "http:///x", "http://:80", "http://h:0", "http://["]
    + ["http://h:99999", "http://h:x", "http://h h", "http://h/\r\nX: y", "http://h/\x7f", "http://h/\ud800"],
)
def test_no_urls(text: str) -> None:
    assert not is_url(text)


def test_without_a_scheme_it_is_http() -> None:
    assert completed("h:5000/x") == "http://h:5000/x"
    assert completed("https://h/x") == "https://h/x"
