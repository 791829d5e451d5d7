"""BuildKit's form of a cache, ours and anyone's."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.build.exchange.config import (
    CacheConfig,
    CacheLayer,
    CacheResult,
    parse,
    parse_inline,
    render,
    render_inline,
)
from corten.errors import CortenError, Invalid
from corten.spec.image_config import INLINE_CACHE
from corten.spec.oci_image import MAX_LAYERS

KEY, A, B = ("sha256:" + letter * 64 for letter in "kab".replace("k", "c"))
CONFIG = CacheConfig((CacheLayer(A, -1), CacheLayer(B, 0)), {KEY: (CacheResult(1, "2026-01-01T00:00:00Z"),)})


def test_there_and_back() -> None:
    assert parse(render(CONFIG)) == CONFIG and CONFIG.chain(1) == (A, B)


def test_in_an_image() -> None:
    document = {"rootfs": {"type": "layers", "diff_ids": [B, A]}, INLINE_CACHE: render_inline(CONFIG)}
    found, diff_ids = parse_inline(json.dumps(document).encode(), [A, B])
    assert found == CONFIG and diff_ids == (B, A)
    plain = {"rootfs": {"type": "layers", "diff_ids": [B]}}
    assert parse_inline(json.dumps(plain).encode(), [A])[0].records == {}
    with pytest.raises(Invalid, match="1 layers"):
        parse_inline(json.dumps(document).encode(), [A])


def test_what_buildkit_writes_is_passed_over() -> None:
    records = [
        {"digest": A},
        {"digest": KEY, "layers": [{"layer": 0, "createdAt": "x"}], "inputs": [[{"link": 0}]]},
        {"digest": B, "chains": [{"layers": [0]}]},
    ]
    found = parse(json.dumps({"layers": [{"blob": A, "parent": -1}], "records": records}).encode())
    assert found.records == {A: (), B: ()}


LAYER, RESULT = {"blob": A, "parent": -1}, {"layer": 0}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"layers": {}},
        {"layers": [1]},
        {"layers": [{"blob": "sha256:../../x"}]},
        {"layers": [{"blob": A, "parent": -2}]},
        {"layers": [{"blob": A, "parent": 1}]},
        {"layers": [{"blob": A, "parent": True}]},
        {"layers": [{"blob": A, "parent": 1 << 70}]},
        {"layers": [LAYER] * 10_001},
        {"layers": [LAYER], "records": [7]},
        {"layers": [LAYER], "records": [{"digest": "x"}]},
        {"layers": [LAYER], "records": [{"digest": KEY, "layers": [{"layer": 1}]}]},
        {"layers": [LAYER], "records": [{"digest": KEY, "layers": [{"layer": -1}]}]},
        {"layers": [LAYER], "records": [{"digest": KEY, "layers": [{"layer": 0, "createdAt": "y" * 100}]}]},
        {"layers": [LAYER], "records": [{"digest": KEY, "layers": "x"}]},
    ],
)
def test_what_is_refused(document: Any) -> None:
    with pytest.raises(CortenError):
        parse(json.dumps(document).encode())


def test_layers_that_lie_on_themselves() -> None:
    layers = [{"blob": A, "parent": 1}, {"blob": B, "parent": 0}]
    found = parse(json.dumps({"layers": layers, "records": [{"digest": KEY, "layers": [RESULT]}]}).encode())
    with pytest.raises(Invalid, match=f"more than {MAX_LAYERS}"):
        found.chain(0)


def test_results_of_one_key_are_bounded() -> None:
    records = [{"digest": KEY, "layers": [RESULT] * 10}] * 10
    assert len(parse(json.dumps({"layers": [LAYER], "records": records}).encode()).records[KEY]) == 16


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    inline = {"rootfs": {"type": "layers", "diff_ids": [A]}, INLINE_CACHE: base64.b64encode(data).decode()}
    for read in (lambda: parse(data), lambda: parse_inline(json.dumps(inline).encode(), [A])):
        try:
            read()
        except CortenError as error:
            assert str(error)
