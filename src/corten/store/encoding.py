"""Compression as bytes in, bytes out: what `store.compression` reads.

    encoder = Encoder("zstd")
    for piece in pieces: out.write(encoder.feed(piece))
    out.write(encoder.finish())

The same bytes and the same level give the same result; a kind's own level is the one at which a layer can go to a
registry about as quickly as the disk gives it.
"""

from __future__ import annotations

import sys
import zlib
from typing import Any

from isal import isal_zlib

from corten.errors import Unsupported

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_QUICK = 1  # of igzip
_GZIP = 31  # window bits of a stream in gzip's form
_ZSTD = 3


class Encoder:
    """Compresses by "gzip" (with a `level`, 0 to 9, zlib does it, without one igzip) or "zstd", or with "tar" not.

    Calls release the interpreter lock while they work.
    """

    def __init__(self, kind: str, level: int | None = None) -> None:
        self._codec: Any = None
        match kind:
            case "gzip" if level is not None:
                self._codec = zlib.compressobj(level, wbits=_GZIP)
            case "gzip":
                self._codec = isal_zlib.compressobj(level=_QUICK, wbits=_GZIP)
            case "zstd":
                self._codec = zstd.ZstdCompressor(_ZSTD if level is None else level)
            case "tar":
                return
            case _:
                raise Unsupported(f"nothing is compressed by {kind!r} here")

    def feed(self, data: bytes | bytearray) -> bytes | bytearray:
        compressed: bytes | bytearray = data if self._codec is None else self._codec.compress(data)
        return compressed

    def finish(self) -> bytes:
        compressed: bytes = b"" if self._codec is None else self._codec.flush()
        return compressed
