"""Accounts as Apache's htpasswd writes them, and basic authentication (RFC 7617)."""

from __future__ import annotations

import base64
import binascii
import ctypes
import ctypes.util
import hashlib
import hmac
import secrets
import threading
from pathlib import Path

from corten.errors import Invalid, Unsupported

_MAX_HEADER = 4096
_CRYPT = ("$2y$", "$2b$", "$2a$", "$5$", "$6$", "$y$")


class Accounts:
    """`text` is an htpasswd file's."""

    def __init__(self, text: str) -> None:
        self._hashes = parse(text)
        self._good: set[bytes] = set()  # pairs that were right: checking a bcrypt hash takes 50 ms and more
        self._key = secrets.token_bytes(32)

    @classmethod
    def from_file(cls, path: Path) -> Accounts:
        try:
            return cls(path.read_text())
        except UnicodeDecodeError as error:
            raise Invalid(f"{path} is no htpasswd file: {error}") from error

    def check(self, user: str, password: str) -> bool:
        """Blocks while it computes: call it in a thread."""
        mark = hmac.digest(self._key, f"{user}\0{password}".encode(), "sha256")
        if mark in self._good:
            return True
        # A name that nobody has takes as long as one that somebody has, or names could be tried out.
        hashed = self._hashes.get(user) or next(iter(self._hashes.values()), "")
        good = check(password, hashed) and user in self._hashes
        if good:
            self._good.add(mark)
        return good

    def hash_of(self, user: str) -> str:
        """ "" for nobody."""
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
    """USER:HASH lines. Invalid for a hash that cannot be checked, which would lock its user out in silence."""
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
    if hashed.startswith("{SHA}"):
        made = base64.b64encode(hashlib.sha1(password.encode(), usedforsecurity=False).digest()).decode()
        return hmac.compare_digest(made, hashed[5:])
    return bool(hashed) and hmac.compare_digest(_crypt(password, hashed).encode(), hashed.encode())


_lock = threading.Lock()  # crypt(3) answers in a buffer of its own


def _crypt(password: str, setting: str) -> str:
    """crypt(3); "" when it does not know the setting."""
    function = _library().crypt
    function.restype = ctypes.c_char_p
    with _lock:
        made = function(password.encode().replace(b"\0", b""), setting.encode())
    return made.decode() if made else ""


def _library() -> ctypes.CDLL:
    """libcrypt by its name first: find_library runs ldconfig and a compiler, which a small container has not."""
    for name in ("libcrypt.so.1", "libcrypt.so.2", ctypes.util.find_library("crypt")):
        try:
            if name:
                return ctypes.CDLL(name)
        except OSError:
            continue
    raise Unsupported("this machine has no libcrypt to check passwords with")
