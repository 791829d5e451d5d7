"""X-Registry-Auth as clients send it."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import pytest
from aiohttp.test_utils import make_mocked_request

from corten.api.call import Call
from corten.api.versions import Version
from corten.errors import Invalid

KNOWN = {"username": "ann", "password": "~~??>>ö"}  # whose base64 has what the two alphabets differ in


def header(value: str) -> Any:
    request = make_mocked_request("GET", "/", headers={"X-Registry-Auth": value})
    return (
        Call(request, cast(Any, None), cast(Any, None), cast(Any, None), Version(1, 50), {}).registry_auth().to_json()
    )


def test_both_alphabets_with_and_without_padding() -> None:
    data = json.dumps(KNOWN, ensure_ascii=False).encode()
    assert base64.b64encode(data) != base64.urlsafe_b64encode(data)
    for text in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        assert header(text) == header(text.rstrip("=")) == KNOWN


@pytest.mark.parametrize("value", ["", "e30=", "e30", base64.b64encode(b"null").decode()])
def test_nothing(value: str) -> None:
    assert header(value) == {}


@pytest.mark.parametrize("value", ["a b", "{}", "e", "\xff", base64.b64encode(b"[]").decode(), "e3s="])
def test_nonsense(value: str) -> None:
    with pytest.raises(Invalid) as error:
        header(value)
    assert value not in str(error.value) or len(value) < 3
