"""Who may do what: nobody is asked, or basic authentication against an htpasswd file (RFC 7617)."""

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


class Access:
    """`users` is an htpasswd file's text, None for a registry that is open to everybody. `anonymous_read`: reading
    needs no account."""

    def __init__(self, users: str | None = None, anonymous_read: bool = False) -> None:
        self._users = None if users is None else parse(users)
        self._anonymous_read = anonymous_read
        self._known: set[bytes] = set()  # credentials that were good: checking a bcrypt hash takes 50 ms and more
        self._key = secrets.token_bytes(32)

    @classmethod
    def from_file(cls, path: Path | None, anonymous_read: bool = False) -> Access:
        return cls(None if path is None else path.read_text(), anonymous_read)

    def allows(self, authorization: str, writing: bool) -> bool:
        """Blocks while it computes: call it in a thread."""
        if self._users is None or (self._anonymous_read and not writing and not authorization):
            return True
        pair = credentials(authorization)
        if pair is None:
            return False
        mark = hmac.digest(self._key, b"\0".join(part.encode() for part in pair), "sha256")
        if mark in self._known:
            return True
        good = check(pair[1], self._users.get(pair[0]) or "")
        if good:
            self._known.add(mark)
        return good

    @property
    def needed(self) -> bool:
        return self._users is not None


def credentials(authorization: str) -> tuple[str, str] | None:
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
    return bool(hashed) and hmac.compare_digest(_crypt(password, hashed), hashed)


_lock = threading.Lock()  # crypt(3) answers in a buffer of its own


def _crypt(password: str, setting: str) -> str:
    """crypt(3); "" when it does not know the setting."""
    name = ctypes.util.find_library("crypt")
    if name is None:
        raise Unsupported("this machine has no libcrypt to check passwords with")
    function = ctypes.CDLL(name).crypt
    function.restype = ctypes.c_char_p
    with _lock:
        made = function(password.encode().replace(b"\0", b""), setting.encode())
    return made.decode() if made else ""
