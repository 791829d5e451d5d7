"""What is compressed is what is decompressed, and always the same."""

from __future__ import annotations

import os

import pytest

from corten.errors import Unsupported
from corten.store.compression import Decoder, detect
from corten.store.encoding import Encoder

DATA = os.urandom(5000) * 300


def encoded(kind: str, level: int | None) -> bytes:
    encoder = Encoder(kind, level)
    return b"".join([encoder.feed(DATA[:7]), encoder.feed(DATA[7:]), encoder.finish()])


@pytest.mark.parametrize(("kind", "level"), [("gzip", None), ("gzip", 0), ("gzip", 9), ("zstd", None), ("zstd", 19)])
def test_there_and_back(kind: str, level: int | None) -> None:
    data = encoded(kind, level)
    assert data == encoded(kind, level) and detect(data) == kind
    decoder = Decoder(kind)
    out = decoder.feed(data)
    while decoder.pending:
        out += decoder.feed(b"")
    decoder.finish()
    assert out == DATA


def test_levels_and_none_at_all() -> None:
    assert len(encoded("gzip", 0)) > len(DATA) > len(encoded("gzip", 9))
    assert encoded("tar", None) == DATA
    with pytest.raises(Unsupported, match="xz"):
        Encoder("xz")
