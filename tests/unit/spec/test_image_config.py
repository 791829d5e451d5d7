"""Image configurations when they are read: what dockerd takes and refuses (dockerd_configs.json); and older records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Invalid
from corten.images.view import details, history
from corten.spec import go_json
from corten.spec.image_config import CONFIG, IMAGE, ImageConfig, parse_config, recorded
from corten.spec.oci_image import chain_ids
from corten.store.images import ImageRecord
from image_parts.strange_configs import DIFF, document, documents
from record_configs import SHOWN

DOCKERD: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "dockerd_configs.json").read_text())
# Both refuse it, we in the words of what reads the text here.
OWN_WORDS = (
    "invalid character",
    "unexpected end",
    "parsing time",
    "invalid diffID",
    "layers length mismatch",
    "RootFS key",
)

UNREAD = ("os-features", "container", "id-", "parent", "size")  # no answer has them


@pytest.mark.parametrize(("name", "text"), [*documents()], ids=[name for name, _ in documents()])
def test_like_dockerd(name: str, text: bytes) -> None:
    said = DOCKERD[name]
    if "error" not in said:
        assert shown(parse_config(text)) == said
        return
    with pytest.raises(Invalid) as refused:
        assert not parse_config(text).diff_ids, "dockerd compares the digests with the layers"
        raise Invalid("layers length mismatch")
    if not any(words in said["error"] for words in OWN_WORDS):
        assert str(refused.value)[:80] == said["error"][:80]


def shown(config: ImageConfig) -> dict[str, Any]:
    """As tests/record_configs.py writes it down."""
    record = ImageRecord("sha256:" + "0" * 64, "", config, (), 1, config.created or "0001-01-01T00:00:00Z", 0)
    rows = history(record, [], dict.fromkeys(chain_ids([DIFF]), 1)) if config.history else []
    found = details(record, [], [], {})
    return {
        **{key: found[key] for key in SHOWN if found.get(key)},
        "Config": {key: value for key, value in found["Config"].items() if value},
        "history": [[row["CreatedBy"], row["Comment"], row["Size"]] for row in rows],
    }


def test_a_record_says_what_the_door_let_in() -> None:
    for _, text in documents():
        try:
            config = parse_config(text)
        except Invalid:
            continue
        assert recorded(config.to_bytes().decode()) == (config, None)


def test_records_that_an_older_version_wrote() -> None:
    """It let everything in; its records hold the whole document as Python's json writes it."""
    for name, text in documents():
        try:
            old = json.dumps(json.loads(text))
        except (ValueError, RecursionError):
            continue
        config, error = recorded(old)
        json.dumps(shown(config), ensure_ascii=False).encode()
        if name.startswith(("rootfs", "whole")):
            continue
        assert config.diff_ids == (DIFF,), "what layers it has is known, whatever else is wrong"
        _, unmarshal, field = DOCKERD[name].get("error", "").partition(" into Go ")
        if unmarshal and not name.startswith(UNREAD):  # the numbers in front of it may be written otherwise now
            assert str(error).partition(" into Go ")[2][:60] == field[:60]


def test_a_record_with_one_fault_keeps_the_rest() -> None:
    old = json.dumps({**json.loads(document()), "author": 5, "config": {"User": "u", "Cmd": ["\ud800"]}})
    config, error = recorded(old)
    assert (config.config, config.author, config.os) == ({"User": "u", "Cmd": ["\ufffd"]}, "", "linux")
    assert "Image.author of type string" in str(error)
    config, error = recorded("{")
    assert config == ImageConfig() and error is not None


def test_too_deep_and_too_large() -> None:
    for text in (b"[" * 100_000, b'{"a":' * 100_000, document('"x":' + "[" * 5000 + "]" * 5000)):
        with pytest.raises(Invalid, match="not JSON"):
            parse_config(text)
    with pytest.raises(Invalid, match="larger"):
        parse_config(b" " * (8 << 20) + document())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.text("\ud800\udfff\0a"),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*CONFIG.fields, "x"]) | st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from([*IMAGE.fields, "x"]), JSON))
def test_whatever_is_let_in_can_be_shown(members: dict[str, Any]) -> None:
    text = json.dumps({**json.loads(document()), **members}).encode()
    try:
        config = parse_config(text)
    except Invalid:
        return
    json.dumps(shown(config), ensure_ascii=False).encode()
    assert recorded(config.to_bytes().decode()) == (config, None)


@given(st.binary())
def test_bytes_that_are_no_json(data: bytes) -> None:
    try:
        found = go_json.value(data, "x")
    except Invalid:
        return
    json.dumps(found, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b'{"a":"\\ud800\\ud83d\\ude00"}', {"a": "\ufffd\U0001f600"}),
        (b'{"\\udfff":["\xff"]}', {"\ufffd": ["\ufffd"]}),
        (b'{"a":1e999,"b":%s,"a":2.5,"c":"\\"\\u0000\\\\ud800"}' % (b"9" * 5000),
         {"a": 2.5, "b": float("inf"), "c": '"\0\\ud800'}),
    ],
)  # fmt: skip
def test_values_without_types(text: bytes, wanted: Any) -> None:
    assert go_json.value(text, "x") == wanted
