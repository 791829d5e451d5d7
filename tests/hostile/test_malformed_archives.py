"""Tars that are none, or say what no file system can have: 400 and one line, by every request that takes a tar."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable

import pytest

from corten.layers import header as tar
from corten.layers import write
from fault_parts.fragile import Fragile
from image_parts import tars
from image_parts.strange_configs import archive, document


def pax(*records: tuple[bytes, bytes]) -> bytes:
    """A file with these records in front of it."""
    return write._pax(b"f", dict(records)) + tars.file("f") + write.END


def block(**fields: bytes) -> bytes:
    """A header with these fields as they stand, its checksum right."""
    at = {"mode": 100, "uid": 108, "size": 124, "mtime": 136, "type": 156}
    raw = bytearray(write.header(b"f"))
    for name, value in fields.items():
        raw[at[name] : at[name] + len(value)] = value
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw) + write.END


MALFORMED: dict[str, bytes] = {
    "no-tar": b"x" * 2048,
    "checksum": b"f" + write.header(b"g")[1:] + write.END,
    "truncated": tars.file("f", b"x" * 5000)[:2000],
    "truncated-gzip": gzip.compress(tars.archive(tars.file("f", bytes(range(256)) * 99)))[:-40],
    "negative-size": block(size=b"\xff" * 12),
    "size-digits": block(size=b"99999999999\0"),
    "huge-size": block(size=b"\x80" + b"\xff" * 11),
    "unknown-type": block(type=b"Z"),
    "pax-cut": write.header(b"f", tar.PAX, size=3) + b"9 a" + bytes(509) + tars.file("f"),
    "pax-length": write.header(b"f", tar.PAX, size=8) + b"99 a=bc\n" + bytes(504) + tars.file("f"),
    "pax-huge": write.header(b"f", tar.PAX, size=2 << 20) + bytes(2 << 20),
    "pax-size": pax((b"size", b"-5")),
    "pax-uid": pax((b"uid", b"4294967295")),
    "pax-mtime": pax((b"mtime", b"1e9")),
    "name-nul": pax((b"path", b"a\0b")),
    "name-long": pax((b"path", b"n" * 300)),
    "name-outside": pax((b"path", b"../../f")),
    "xattr-empty": pax((b"SCHILY.xattr.", b"v")),
    "xattr-nul": pax((b"SCHILY.xattr.user.a\0b", b"v")),
    "xattr-name": pax((b"SCHILY.xattr.user." + b"n" * 400, b"v")),
    "xattr-value": pax((b"SCHILY.xattr.user.a", b"v" * 70_000)),
    "sparse-map": pax((b"GNU.sparse.map", b"5,1"), (b"GNU.sparse.size", b"2")),
    "sparse-large": pax((b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.size", b"%d" % (1 << 60))),
    "device": write.header(b"f", tar.CHAR, major=1 << 20, minor=5) + write.END,
    "device-negative": block(type=tar.CHAR)[:329] + b"\xff" * 8 + block()[337:],
}
_ARCHIVE: dict[str, str] = {"Content_Type": "application/x-tar"}


def loaded(daemon: Fragile, layer: bytes) -> tuple[int, str]:
    """As the layer of an image."""
    diff = "sha256:" + hashlib.sha256(layer).hexdigest()
    rootfs = '"rootfs":' + json.dumps({"type": "layers", "diff_ids": [diff]})
    return load(daemon, archive(document(rootfs=rootfs), "bad:1", layer))


def load(daemon: Fragile, data: bytes) -> tuple[int, str]:
    """Its errors stand in the stream, with status 200: 400 stands for those."""
    status, answer = daemon.ask("POST", "/images/load?quiet=1", data, **_ARCHIVE)
    assert status == 200
    return (400, answer["error"]) if "error" in answer else (200, str(answer))


def said(daemon: Fragile, method: str, path: str, body: bytes) -> tuple[int, str]:
    status, answer = daemon.ask(method, path, body, **_ARCHIVE)
    return status, str(answer.get("message", answer) if isinstance(answer, dict) else answer)


REQUESTS: dict[str, Callable[[Fragile, bytes], tuple[int, str]]] = {
    "load": load,
    "layer": loaded,
    "import": lambda daemon, data: said(daemon, "POST", "/images/create?fromSrc=-", data),
    "copy": lambda daemon, data: said(daemon, "PUT", "/containers/put/archive?path=/", data),
}


@pytest.mark.parametrize("request_", REQUESTS)
def test_malformed(daemon: Fragile, request_: str) -> None:
    daemon.create("true", name="put")
    for name, data in MALFORMED.items():
        status, text = REQUESTS[request_](daemon, data)
        assert status == 400, (name, status, text)
        assert text and "\n" not in text and len(text) < 500, (name, text)
    assert "Traceback" not in daemon.log.read_text()


def test_attributes_that_a_kind_of_file_cannot_have(daemon: Fragile) -> None:
    """A link has no user attributes, and no file system has those without a namespace: left out, as dockerd does."""
    link = write.header(b"l", tar.SYMLINK, link=b"f", xattrs={b"user.a": b"1"})
    file = tars.file("f", xattrs={b"nonsense": b"1", b"user.b": b"1"})
    status, text = said(daemon, "POST", "/images/create?fromSrc=-&repo=odd", tars.archive(link, file))
    assert (status, "sha256:" in text) == (200, True), text
    assert daemon.ask("DELETE", "/images/odd:latest")[0] == 200
