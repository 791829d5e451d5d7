"""grpclib as a client of services whose messages are encoded elsewhere."""

from __future__ import annotations

from typing import Any

from grpclib.encoding.base import CodecBase


class Bytes(CodecBase):
    """Messages as they are on the wire."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        assert isinstance(message, bytes)
        return message

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data
