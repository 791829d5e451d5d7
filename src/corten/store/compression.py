"""Decompression as bytes in, bytes out, bounded: gzip (ISA-L), zstd, and for archives that users load bzip2 and xz.

    decoder = Decoder("gzip")
    for piece in pieces: out.write(decoder.feed(piece))    # `pending` says whether to call feed(b"") again
    decoder.finish()                                       # Invalid when the stream ended early

Multi-member gzip and multi-frame zstd, as pigz and zstd:chunked write them, are one stream here.
"""

from __future__ import annotations

import bz2
import lzma
import sys
from typing import Any

from isal import igzip_lib

from corten.errors import Invalid

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
_SKIPPABLE = (b"\x50\x2a\x4d\x18", 0x50, 0x5F)
_ISAL_ERROR: type[Exception] = vars(igzip_lib)["IsalError"]  # a class; its stub says otherwise
_OUT = 1 << 20  # most bytes out of one step, so that a bomb cannot fill memory
_WINDOW_LOG_MAX = 27  # 128 MiB, what zstd itself takes without --long
_XZ_MEMORY = 128 << 20


def detect(head: bytes) -> str:
    """ "gzip", "zstd", "bzip2", "xz", or "tar" for anything else."""
    for magic, name in MAGIC:
        if head.startswith(magic):
            return name
    if len(head) >= 4 and head[1:4] == _SKIPPABLE[0][1:] and _SKIPPABLE[1] <= head[0] <= _SKIPPABLE[2]:
        return "zstd"
    return "tar"


def _new(kind: str) -> Any:
    match kind:
        case "gzip":
            return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        case "zstd":
            return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})
        case "bzip2":
            return bz2.BZ2Decompressor()
        case "xz":
            return lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
    raise Invalid(f"unknown compression {kind!r}")


class Decoder:
    """One compressed stream. Calls release the interpreter lock while they work."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._codec = None if kind == "tar" else _new(kind)
        self._input = b""
        self._started = False

    @property
    def pending(self) -> bool:
        """More output is waiting without more input."""
        codec = self._codec
        if codec is None:
            return False
        return bool(self._input) or not (codec.eof or codec.needs_input)

    def feed(self, data: bytes) -> bytes:
        """At most about 1 MiB of output; while `pending`, call again with b""."""
        codec = self._codec
        if codec is None:
            return data
        data = self._input + data if self._input else data
        self._input = b""
        if codec.eof:
            data = data.lstrip(b"\0") if self.kind == "gzip" else data  # padding after the last member
            if not data:
                return b""
            codec = self._codec = _new(self.kind)
        self._started = self._started or bool(data)
        try:
            out: bytes = codec.decompress(data, _OUT)
        except (_ISAL_ERROR, zstd.ZstdError, OSError, lzma.LZMAError, EOFError) as error:
            raise Invalid(f"damaged {self.kind} stream: {error}") from error
        if codec.eof:
            self._input = codec.unused_data
        return out

    def finish(self) -> None:
        """Check that the stream is complete. Raises Invalid when it is cut off."""
        if self._codec is not None and self._started and not self._codec.eof:
            raise Invalid(f"truncated {self.kind} stream")
        if self._codec is not None and not self._started:
            raise Invalid(f"empty {self.kind} stream")
