"""DNS messages, as much of them as a container's name server needs (RFC 1035): read one question, answer it.

    header    u16 id, u16 flags, u16 questions, answers, authorities, additionals
    question  name as length-prefixed labels ending in an empty one, u16 type, u16 class

What is not answered here goes to another server unchanged, so nothing but the question is ever parsed.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from typing import NamedTuple

from corten.errors import Corrupt

A, PTR, AAAA, ANY = 1, 12, 28, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
TTL = 600  # seconds; what Docker gives, and programs do not ask again for

_HEADER = struct.Struct(">HHHHHH")
_RESPONSE, _OPCODE, _TRUNCATED, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080
_UDP_LIMIT = 512
LARGEST = 65535  # bytes of a message by TCP

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Question(NamedTuple):
    """`name` in lower case without the last dot; `end` is where the question ends in the message."""

    id: int
    flags: int
    name: str
    kind: int
    end: int


def parse(message: bytes) -> Question:
    """The one question of a query.

    Raises Corrupt for anything else: a response, several questions, a name that does not fit.
    """
    if len(message) < _HEADER.size:
        raise Corrupt("dns message shorter than its header")
    id, flags, questions, _, _, _ = _HEADER.unpack_from(message)
    if flags & (_RESPONSE | _OPCODE) or questions != 1:
        raise Corrupt(f"dns message is no plain query (flags {flags:#06x}, {questions} questions)")
    labels, offset = [], _HEADER.size
    while True:
        if offset >= len(message):
            raise Corrupt("dns name is cut off")
        length = message[offset]
        offset += 1
        if not length:
            break
        if length > 63 or offset + length > len(message) or offset - _HEADER.size + length > 254:
            raise Corrupt("dns name does not fit its message")  # compression has no place in the first name either
        labels.append(message[offset : offset + length].decode("ascii", "backslashreplace").lower())
        offset += length
    if offset + 4 > len(message):
        raise Corrupt("dns question is cut off")
    (kind,) = struct.unpack_from(">H", message, offset)
    return Question(id, flags, ".".join(labels), kind, offset + 4)


def reverse(name: str) -> IPAddress | None:
    """The address that a PTR question is about: 4.3.2.1.in-addr.arpa, or 32 nibbles and ip6.arpa. Else None."""
    labels = name.split(".")
    try:
        if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
            return ipaddress.IPv4Address(".".join(reversed(labels[:4])))
        if labels[-2:] == ["ip6", "arpa"] and len(labels) == 34 and all(len(label) == 1 for label in labels[:32]):
            return ipaddress.IPv6Address(bytes.fromhex("".join(reversed(labels[:32]))))
    except ValueError:
        return None
    return None


def encode_name(name: str) -> bytes:
    """Labels with their lengths. Raises ValueError for an empty label or one above 63 bytes."""
    found = bytearray()
    for label in name.split("."):
        raw = label.encode("ascii", "replace")
        if not 0 < len(raw) < 64:
            raise ValueError(f"not a label of a dns name: {label!r}")
        found += bytes((len(raw),)) + raw
    return bytes(found) + b"\0"


def is_name(name: str) -> bool:
    """DNS has a form for it: a container's name may be longer than a label, or have an empty one."""
    return len(name) < 254 and all(0 < len(label) < 64 for label in name.split("."))


def _reply(message: bytes, question: Question, code: int, records: Sequence[bytes], limit: int) -> bytes:
    flags = _RESPONSE | _RECURSION_AVAILABLE | question.flags & _RECURSION_DESIRED | code
    kept = list(records)
    size = question.end + sum(map(len, kept))
    while kept and size > limit:
        size -= len(kept.pop())
        flags |= _TRUNCATED
    header = _HEADER.pack(question.id, flags, 1, len(kept), 0, 0)
    return header + message[_HEADER.size : question.end] + b"".join(kept)


def addresses(message: bytes, question: Question, found: Sequence[IPAddress], limit: int = _UDP_LIMIT) -> bytes:
    """An answer with these addresses; none is a valid answer too: the name exists and has none of this kind.

    What does not fit `limit` bytes is left out, and TC is set: the client asks again by TCP.
    """
    records = [
        struct.pack(">HHHIH", 0xC00C, A if ip.version == 4 else AAAA, IN, TTL, len(ip.packed)) + ip.packed
        for ip in found
    ]
    return _reply(message, question, NOERROR, records, limit)


def names(message: bytes, question: Question, found: Sequence[str], limit: int = _UDP_LIMIT) -> bytes:
    """An answer to a reverse question."""
    encoded = [encode_name(name) for name in found]
    records = [struct.pack(">HHHIH", 0xC00C, PTR, IN, TTL, len(name)) + name for name in encoded]
    return _reply(message, question, NOERROR, records, limit)


def refuse(message: bytes, question: Question, code: int) -> bytes:
    return _reply(message, question, code, (), _UDP_LIMIT)


def framed(received: bytes | bytearray) -> bytes | None:
    """The first message of a TCP stream, which has its length before it; None while it is not whole."""
    end = 2 + int.from_bytes(received[:2], "big")
    return bytes(received[2:end]) if len(received) >= max(end, 2) else None


def with_id(message: bytes, id: int) -> bytes:
    return struct.pack(">H", id) + message[2:]


def limit(message: bytes, question: Question) -> int:
    """How long an answer by UDP may be: 512 bytes, or what the client's EDNS record says (RFC 6891)."""
    extra = message[question.end :]
    if message[10:12] == b"\0\1" and len(extra) >= 11 and extra[:3] == b"\0\0\x29":
        return min(4096, max(_UDP_LIMIT, int.from_bytes(extra[3:5], "big")))
    return _UDP_LIMIT


def code(reply: bytes) -> int:
    """NOERROR, SERVFAIL ... of a reply that `answers` a question."""
    return reply[3] & 15


def answers(query: bytes, question: Question, reply: bytes, id: int) -> bool:
    """The reply of another server is to this query, sent with this id: same id, a response, the same question."""
    if len(reply) < question.end:
        return False
    got, flags, questions, _, _, _ = _HEADER.unpack_from(reply)
    same = reply[_HEADER.size : question.end].lower() == query[_HEADER.size : question.end].lower()
    return got == id and bool(flags & _RESPONSE) and questions == 1 and same
