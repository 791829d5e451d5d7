from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.client import quickjson

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_it_writes_and_reads_what_json_does(value: Any) -> None:
    assert quickjson.dumps(value) == json.dumps(value, separators=(",", ":"))
    assert quickjson.loads(json.dumps(value, indent=1).encode()) == value
    assert quickjson.loads(f" \n{json.dumps(value, ensure_ascii=False)}\r\n") == value


@given(st.text())
def test_quoting_keeps_letters(text: str) -> None:
    assert quickjson.quote(text) == json.dumps(text, ensure_ascii=False)


@pytest.mark.parametrize("text", ["", " ", "{", "[1,]", '{"a":1} x', "nul", '"\n"', "\xa01"])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        quickjson.loads(text)


@pytest.mark.parametrize("text", ["{bad", '{"a" 1}', '["x', "[1 2]", '"\\q"'])
def test_what_is_no_json_in_a_process_without_the_json_package(text: str) -> None:
    """There the accelerator has no class for its error."""
    program = f"""
import sys
from corten.client import quickjson
assert "json" not in sys.modules
try:
    quickjson.loads({text!r})
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "line 1 column" in done.stdout


def test_it_is_the_accelerator_here() -> None:
    assert quickjson._scan is not None
