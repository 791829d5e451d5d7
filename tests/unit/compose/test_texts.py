"""Texts of any kind: what is written is read again; what is split, parsed or interpolated ends, and with our errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.compose.document import read
from corten.compose.errors import ComposeError
from corten.compose.loader.shellwords import split
from corten.compose.loader.shortports import parse_port
from corten.compose.loader.shortvolumes import parse_volume
from corten.compose.output import compact, yaml
from corten.compose.output.ordered import by_nature
from corten.compose.variables import dotenv
from corten.compose.variables.template import BadTemplate, Interpolation, Missing, references

#: Beyond these Go's YAML library writes what it does not read.
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029\ufeff\r"), max_size=30)
_KEYS = _TEXT.filter(lambda key: key != "<<")
_ODD = st.text(st.sampled_from("$${}{}:-+?AB_1 /\\'\"#=\n\t[].,%`()|&<>é"), max_size=40)
_TREES = st.recursive(
    _TEXT | st.none() | st.booleans() | st.integers(-(2**60), 2**60),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(_KEYS, _TREES, min_size=1, max_size=5))
def test_what_is_written_is_read_again(tree: dict[str, Any]) -> None:
    (document,) = read(yaml(tree).encode(), "f.yaml")
    assert document.value == tree


@given(_TREES)
def test_json_is_json(tree: Any) -> None:
    assert json.loads(compact(tree)) == tree


@given(st.lists(st.text(max_size=8), max_size=20, unique=True))
def test_an_order_is_one(keys: list[str]) -> None:
    assert sorted(by_nature(keys)) == sorted(keys)


@given(st.binary(max_size=200))
def test_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read(data, "f.yaml")
    except ComposeError as error:
        assert str(error)


@given(_ODD)
def test_interpolation_ends(text: str) -> None:
    values = {"A": "a$A", "B": ""}
    try:
        found = Interpolation(values.get).text(text)
    except (BadTemplate, Missing):
        return
    assert len(found) <= len(text) * 4
    assert len(list(references(text))) <= len(text)


@given(_ODD)
def test_files_of_variables_are_read_or_refused(text: str) -> None:
    for parse in (dotenv.parse, dotenv.parse_raw):
        try:
            found = parse(text.encode(), "e.env", {"A": "x"}.get)
        except ComposeError as error:
            assert error.position is not None or "zero length" in str(error)
        else:
            assert all(isinstance(value, str) for value in found.values())


@given(_ODD)
def test_short_forms_are_read_or_refused(text: str) -> None:
    for parse in (split, parse_port, parse_volume):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("keys", "order"),
    [
        (["b10", "b9", "b1"], ["b1", "b9", "b10"]),
        (["a1", "a01", "a001"], ["a1", "a01", "a001"]),
        (["web-2", "web_1", "webx"], ["web-2", "web_1", "webx"]),
        (["9", "10", "a"], ["9", "10", "a"]),
    ],
)
def test_the_order_of_keys(keys: list[str], order: list[str]) -> None:
    assert by_nature(list(reversed(keys))) == order
