"""Secrets: short texts that containers get as files in memory, encrypted where they are stored.

The key is the content of a file, or a systemd credential, outside of the data root: the disk
alone gives none of them away. It is read when it is needed, and kept nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import re
import secrets as random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from corten.aio.threads import answered
from corten.engine.events import Events
from corten.errors import Conflict, Invalid, NotFound, Unavailable
from corten.spec.docker import times
from corten.spec.docker.filters import Filters
from corten.spec.docker.secrets import StoredSecretMount
from corten.spec.json import Json
from corten.store.table import Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

log = logging.getLogger(__name__)

KIND = "secret"
CREDENTIAL = "corten-secrets-key"  # of systemd's LoadCredential=
LONGEST = 500 * 1024  # bytes of one secret, as of Swarm's
_MOST_KEY = 64 << 10  # bytes that are read of a key's file
_LEAST_KEY = 32
_NONCE = 12
_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,62}[a-zA-Z0-9])?\Z")
_LIST_KEYS = frozenset({"id", "label", "name"})


class Secret(msgspec.Struct, omit_defaults=True):
    """`sealed` is a nonce and what AES-256-GCM makes of the text, in base64; `key` tells the key from others."""

    id: str
    name: str
    created: int
    key: str
    sealed: str
    labels: dict[str, str] = {}


def _loaded(listed: Mapping[str, Json]) -> Iterator[tuple[str, Secret]]:
    """One broken record does not hide the others, and stays."""
    for id, body in listed.items():
        try:
            yield id, msgspec.convert(body, Secret)
        except msgspec.ValidationError as error:
            log.error("the record of secret %s cannot be read: %s", id, error)


class Secrets:
    """All secrets. `key_file` is None where the daemon's configuration has none."""

    def __init__(self, table: Table, events: Events, data_root: Path, key_file: Path | None) -> None:
        self._table, self._events = table, events
        self._data_root, self._key_file = data_root, key_file
        self._all = dict(_loaded(table.list(KIND)))

    def list(self, filters: Filters) -> Sequence[Secret]:
        """Those that match, by name. Invalid for an unknown filter."""
        filters.check(_LIST_KEYS)
        names, ids = filters.pattern("name"), tuple(filters.get("id", ()))
        return [
            secret
            for secret in sorted(self._all.values(), key=lambda one: one.name)
            if names(secret.name)
            and (not ids or secret.id.startswith(ids))
            and filters.match_labels("label", secret.labels)
        ]

    def get(self, reference: str) -> Secret:
        """By name, id, or the start of an id. NotFound; Invalid when the start is that of several."""
        for secret in self._all.values():
            if reference in (secret.name, secret.id):
                return secret
        found = [secret for secret in self._all.values() if reference and secret.id.startswith(reference)]
        if len(found) > 1:
            raise Invalid(f"multiple secrets found with the provided prefix: {reference}")
        if not found:
            raise NotFound(f"No such secret: {reference}")
        return found[0]

    async def create(self, name: str, text: bytes, labels: Mapping[str, str]) -> Secret:
        """Store a new one. Invalid, Conflict for a name that is taken, Unavailable without a key."""
        if not _NAME.match(name):
            raise Invalid(f"invalid name of a secret: {name!r}: 1 to 64 letters, digits, and _.- between them")
        if not 0 < len(text) <= LONGEST:
            raise Invalid(f"a secret has 1 to {LONGEST} bytes, and not {len(text)}")
        self._check_unused(name)
        key, id = await self._key(), random.token_hex(16)
        self._check_unused(name)
        nonce = os.urandom(_NONCE)
        sealed = base64.b64encode(nonce + _cipher(key).encrypt(nonce, text, _bound(id, name))).decode()
        secret = Secret(id, name, times.now(), _name_of(key), sealed, dict(labels))
        self._table.put(KIND, id, msgspec.to_builtins(secret))
        self._all[id] = secret
        self._events.publish("secret", "create", id, {"name": name})
        return secret

    def _check_unused(self, name: str) -> None:
        if any(secret.name == name for secret in self._all.values()):
            raise Conflict(f"a secret of the name {name} exists already")

    def remove(self, secret: Secret) -> None:
        """Its users are the caller's to look for."""
        self._table.delete(KIND, secret.id)
        del self._all[secret.id]
        self._events.publish("secret", "remove", secret.id, {"name": secret.name})

    async def content(self, wanted: Sequence[StoredSecretMount], root: tuple[int, int]) -> Sequence[bytes]:
        """A line of JSON about the files of a container, and behind it their bytes (`runtime.host_mounts.filled`).
        `root` is the host's (uid, gid) of the container's root. NotFound, Unavailable."""
        key = await self._key()
        rows, texts = [], []
        for mount in wanted:
            text = self._opened(self.get(mount.secret), key)
            uid, gid = (start + int(own or 0) for start, own in zip(root, (mount.uid, mount.gid), strict=True))
            mode = 0o444 if mount.mode is None else mount.mode
            row: Json = {"name": mount.target or mount.secret, "size": len(text), "uid": uid, "gid": gid, "mode": mode}
            rows.append(row)
            texts.append(text)
        return [json.dumps(rows).encode() + b"\n", *texts]

    def _opened(self, secret: Secret, key: bytes) -> bytes:
        if secret.key != _name_of(key):
            raise Unavailable(f"secret {secret.name} was stored under another key than the daemon has")
        sealed = base64.b64decode(secret.sealed)
        from cryptography.exceptions import InvalidTag

        try:
            return _cipher(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(secret.id, secret.name))
        except InvalidTag:
            raise Unavailable(f"what is stored of secret {secret.name} was changed") from None

    async def _key(self) -> bytes:
        """32 bytes."""
        return await answered(partial(_read_key, self._key_file, self._data_root), "the key for secrets")


def _read_key(path: Path | None, data_root: Path) -> bytes:
    if path is None and (directory := os.environ.get("CREDENTIALS_DIRECTORY")):
        path = Path(directory, CREDENTIAL)
        if not path.exists():
            path = None
    if path is None:
        raise Unavailable(
            "the daemon has no key for secrets: set secrets-key-file in daemon.json, or give it the systemd "
            f"credential {CREDENTIAL}"
        )
    if path.resolve().is_relative_to(data_root.resolve()):
        raise Unavailable(f"the key for secrets, {path}, is in the data root, which it is to protect")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would hold the thread up
        with open(fd, "rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read(_MOST_KEY)
    except OSError as error:
        raise Unavailable(f"cannot read the key for secrets, {path}: {error.strerror}") from None
    if mode & 0o077:
        raise Unavailable(f"the key for secrets, {path}, can be read by others: chmod 600")
    if len(text) < _LEAST_KEY:
        raise Unavailable(f"the key for secrets, {path}, has less than {_LEAST_KEY} bytes")
    return hashlib.sha256(text).digest()


def shown(secret: Secret) -> Json:
    """What clients see: never the text."""
    return {
        "ID": secret.id,
        "Name": secret.name,
        "Labels": secret.labels,
        "CreatedAt": times.rfc3339(secret.created),
    }


def _name_of(key: bytes) -> str:
    return hashlib.sha256(b"corten secrets key\0" + key).hexdigest()[:16]


def _bound(id: str, name: str) -> bytes:
    """What is authenticated beside the text: it cannot be passed off as another secret's."""
    return json.dumps([id, name]).encode()


def _cipher(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 30 ms, with the first secret

    return AESGCM(key)
