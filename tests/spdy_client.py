"""SPDY/3.1 from the client's side, for tests: frames by hand."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import NamedTuple

from corten.cri.streaming.spdy import DICTIONARY


class Frame(NamedTuple):
    """`kind` 0 is data."""

    kind: int
    stream: int
    flags: int
    body: bytes


class Client:
    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._next = 1
        self._rest = b""

    def open(self, headers: Mapping[str, str]) -> tuple[int, bytes]:
        stream, self._next = self._next, self._next + 2
        plain = len(headers).to_bytes(4, "big")
        for text in (text for pair in headers.items() for text in pair):
            plain += len(text).to_bytes(4, "big") + text.encode()
        block = self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return stream, control(1, stream.to_bytes(4, "big") + bytes(6) + block)

    def data(self, stream: int, data: bytes, end: bool = False) -> bytes:
        return stream.to_bytes(4, "big") + bytes([end]) + len(data).to_bytes(3, "big") + data

    def receive(self, data: bytes) -> list[Frame]:
        self._rest += data
        found = []
        while len(self._rest) >= 8:
            size = int.from_bytes(self._rest[5:8], "big")
            if len(self._rest) < 8 + size:
                break
            head, body, self._rest = self._rest[:8], self._rest[8 : 8 + size], self._rest[8 + size :]
            if head[0] & 0x80:
                kind, stream = int.from_bytes(head[2:4], "big"), int.from_bytes(body[:4], "big")
                if kind == 2:
                    assert self._inflate.decompress(body[4:]) == bytes(4), "no headers"
            else:
                kind, stream = 0, int.from_bytes(head[:4], "big")
            found.append(Frame(kind, stream, head[4], body))
        return found


def control(kind: int, body: bytes) -> bytes:
    return b"\x80\x03" + kind.to_bytes(2, "big") + b"\0" + len(body).to_bytes(3, "big") + body
