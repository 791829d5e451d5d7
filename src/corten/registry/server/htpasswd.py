"""Accounts as Apache's htpasswd writes them, and basic authentication (RFC 7617)."""

from __future__ import annotations

import base64
import binascii
import ctypes
import ctypes.util
import hashlib
import hmac
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from corten.errors import Invalid, Unsupported

_MAX_HEADER = 4096
_MAX_PASSWORD = 4096
_CRYPT = ("$2y$", "$2b$", "$2a$", "$5$", "$6$", "$y$")


class Accounts:
    """`text` is an htpasswd file's."""

    def __init__(self, text: str) -> None:
        self._hashes = parse(text)
        self._good: dict[str, bytes] = {}  # what was right last, by user: checking a bcrypt hash takes 50 ms and more
        self._key = secrets.token_bytes(32)

    @classmethod
    def from_file(cls, path: Path) -> Accounts:
        try:
            return cls(path.read_text())
        except UnicodeDecodeError as error:
            raise Invalid(f"{path} is no htpasswd file: {error}") from error

    def is_cached(self, user: str, password: str) -> bool:
        """Whether this pair was checked before, so that no hash need be computed."""
        return hmac.compare_digest(self._good.get(user, b""), self._mark(user, password))

    def _mark(self, user: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{user}\0{password}".encode(errors="surrogatepass"), "sha256")

    def check(self, user: str, password: str) -> bool:
        """Whether the password is right. Blocks while it computes: call it in a thread."""
        if self.is_cached(user, password):
            return True
        # An unknown name takes as long as a known one, or names could be tried out.
        hashed = self._hashes.get(user) or next(iter(self._hashes.values()), "")
        good = check(password, hashed) and user in self._hashes
        if good:
            self._good[user] = self._mark(user, password)
        return good

    def hash_of(self, user: str) -> str:
        """The hash of a user's password; "" for an unknown user."""
        return self._hashes.get(user, "")


def credentials(authorization: str) -> tuple[str, str] | None:
    """User and password of a basic Authorization header; None when it is none."""
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "basic" or len(text) > _MAX_HEADER:
        return None
    try:
        user, colon, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None


def parse(text: str) -> dict[str, str]:
    """USER:HASH lines. Raises Invalid for a hash of an unknown kind, which would lock its user out in silence."""
    users: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        user, _, hashed = line.strip().partition(":")
        if not hashed.startswith((*_CRYPT, "{SHA}")):
            raise Invalid(f"htpasswd: the password of {user!r} is in a form that is not supported; use htpasswd -B")
        users[user] = hashed
    return users


def check(password: str, hashed: str) -> bool:
    try:
        given = password.encode()
    except UnicodeEncodeError:
        return False
    if hashed.startswith("{SHA}"):
        made = base64.b64encode(hashlib.sha1(given, usedforsecurity=False).digest()).decode()
        return hmac.compare_digest(made, hashed[5:])
    if b"\0" in given or len(given) > _MAX_PASSWORD:  # C would see less of it; some hashes take its length squared
        return False
    return bool(hashed) and hmac.compare_digest(_crypt(given, hashed), hashed.encode())


_CRYPT_DATA = 256 << 10  # bytes: more than any library's struct crypt_data


def _crypt(password: bytes, setting: str) -> bytes:
    """crypt_r(3); b"" when it does not know the setting."""
    room = ctypes.create_string_buffer(_CRYPT_DATA)
    return _library()(password, setting.encode(), room) or b""


@cache
def _library() -> Callable[[bytes, bytes, ctypes.Array[ctypes.c_char]], bytes | None]:
    """libcrypt by its name first: find_library runs ldconfig and a compiler, which a small container has not."""
    for name in ("libcrypt.so.1", "libcrypt.so.2"):
        with suppress(OSError):
            return _crypt_of(name)
    if found := ctypes.util.find_library("crypt"):
        return _crypt_of(found)
    raise Unsupported("this machine has no libcrypt to check passwords with")


def _crypt_of(name: str) -> Callable[[bytes, bytes, ctypes.Array[ctypes.c_char]], bytes | None]:
    kinds = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p)
    return ctypes.CFUNCTYPE(ctypes.c_char_p, *kinds)(("crypt_r", ctypes.CDLL(name)))
