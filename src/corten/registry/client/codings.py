"""Content codings of answers (RFC 9110, 8.4). None is asked for, but some servers, and caches before them, compress
whatever is asked. Blobs are never decoded: digests and ranges are of what was sent."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from corten.errors import Failed

_NONE = ("", "identity")
_KNOWN = ("gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB = 47  # zlib.h, inflateInit2: 32 + 15, by the header


class Decoder:
    """One body, as it comes. `headers` are the values of Content-Encoding. Raises Failed for a coding that it does not
    know, and for more than one."""

    def __init__(self, headers: Iterable[str]) -> None:
        names = [name.strip().lower() for header in headers for name in header.split(",")]
        codings = [name for name in names if name not in _NONE]
        if len(codings) > 1 or not all(name in _KNOWN for name in codings):
            said = ", ".join(codings)[:100]
            raise Failed(f"registry answers in the content coding {said!r}, which it was not asked for")
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB) if codings else None
        self._begun = False

    def decode(self, data: bytes, most: int) -> bytes:
        """The next bytes, `most` at most: what would be more is lost. Raises Failed for what is not in the coding."""
        if self._inflate is None:
            return data[:most]
        decoded = bytearray()
        try:
            while data and len(decoded) < most:
                if self._inflate.eof:  # gzip may have several members
                    self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
                decoded += self._inflate.decompress(data, most - len(decoded))
                data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        except zlib.error as error:
            raise Failed("registry's answer is not in the content coding that it names") from error
        self._begun = True
        return bytes(decoded)

    def end(self) -> None:
        """The body has ended. Raises Failed when it was cut."""
        if self._inflate is not None and self._begun and not self._inflate.eof:
            raise Failed("registry's answer ends in the middle of its content coding")
