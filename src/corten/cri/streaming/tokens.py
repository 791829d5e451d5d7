"""What a client may ask for by an address: once, and within a minute."""

from __future__ import annotations

import secrets
import time
from typing import Generic, TypeVar

from corten.errors import Exhausted, NotFound

T = TypeVar("T")
_SECONDS = 60.0
_MOST = 1000


class Tokens(Generic[T]):
    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, T]] = {}

    def put(self, asked: T) -> str:
        """Raises Exhausted when too many have not been used."""
        now = time.monotonic()
        self._kept = {token: kept for token, kept in self._kept.items() if kept[0] > now}
        if len(self._kept) >= _MOST:
            raise Exhausted(f"{_MOST} streams have been asked for and not begun")
        token = secrets.token_urlsafe(24)
        self._kept[token] = (now + _SECONDS, asked)
        return token

    def take(self, token: str) -> T:
        """Raises NotFound."""
        until, asked = self._kept.pop(token, (0.0, None))
        if asked is None or until < time.monotonic():
            raise NotFound("this address was used, is too old, or was never given out")
        return asked
