"""nftables, spoken over nfnetlink: tables, chains, sets, elements and rules as requests, and the batches they go in.

Everything that changes goes through a transaction: `Transactions.commit(requests)` puts a row of requests between
BATCH_BEGIN and BATCH_END, and the kernel does all of them or none. Adding an element to a set costs 0.1 to 0.2 ms.

A rule is a row of expressions that work on registers. Registers here are the 4-byte ones, numbered from 0; a value
takes as many as it needs, so the concatenated key of a set is written side by side:

    rule(t, "out", meta(OIFNAME, 0), lookup("bridges", 0), verdict(DROP))       # oifname @bridges drop

Sources: include/uapi/linux/netfilter/nf_tables.h, nft(8), libnftnl's and nft's data type numbers.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from corten.kernel.netlink import (
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLMSG_ERROR,
    Message,
    Request,
    Socket,
    attribute,
    attribute_list,
    attributes,
    be32,
    nest,
    raise_first,
    string,
    text,
)

NFPROTO_INET, NFPROTO_IPV4, NFPROTO_NETDEV, NFPROTO_IPV6 = 1, 2, 5, 10
NFNLGRP_NFTABLES = 7

_SUBSYSTEM = 10 << 8
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_TRIES = 10  # to list a set that is being rearranged, which takes milliseconds
NFT_MSG_NEWTABLE, NFT_MSG_GETTABLE, NFT_MSG_DELTABLE = 0, 1, 2
NFT_MSG_NEWCHAIN, NFT_MSG_GETCHAIN, NFT_MSG_DELCHAIN = 3, 4, 5
NFT_MSG_NEWRULE, NFT_MSG_GETRULE, NFT_MSG_DELRULE, NFT_MSG_NEWSET = 6, 7, 8, 9
NFT_MSG_NEWSETELEM, NFT_MSG_GETSETELEM, NFT_MSG_DELSETELEM = 12, 13, 14

NFT_TABLE_F_OWNER = 2  # Linux 5.12: no other process can change or flush the table
NFT_TABLE_F_PERSIST = 4  # Linux 6.9: and it stays when its owner's socket is closed

PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
INGRESS = 0  # of a table of the family NFPROTO_NETDEV
DROP, ACCEPT, JUMP, GOTO, RETURN = 0, 1, -3, -4, -5

NFT_SET_INTERVAL, NFT_SET_MAP = 0x4, 0x8
NFT_SET_ELEM_INTERVAL_END = 1

# nft's own numbers for data types: the kernel stores them, `nft list` needs them to print values.
IPV4_ADDR, IPV6_ADDR, INET_PROTO, INET_SERVICE, NUMBER, IFNAME = 7, 8, 12, 13, 19, 41
_LENGTHS = {IPV4_ADDR: 4, IPV6_ADDR: 16, INET_PROTO: 1, INET_SERVICE: 2, NUMBER: 4, IFNAME: 16}
_BIG_ENDIAN, _HOST_ENDIAN = 2, 1

# meta keys, and ct keys
MARK, IIFNAME, OIFNAME, NFPROTO, L4PROTO = 3, 6, 7, 15, 16
CT_STATE, CT_STATUS = 0, 2
STATE_INVALID, STATE_ESTABLISHED, STATE_RELATED, STATE_NEW = 1, 2, 4, 8
STATUS_DNAT = 0x20
ADDRTYPE_LOCAL = 2
EQ, NEQ = 0, 1

_ELEMENTS_PER_MESSAGE = 400  # an attribute is at most 65,535 bytes, an element here at most 100


class Table(NamedTuple):
    family: int
    name: str


class Chain(NamedTuple):
    """A base chain of the machine, as `chains` lists it. `policy` is DROP or ACCEPT."""

    family: int
    table: str
    name: str
    hook: int
    policy: int


class Set(NamedTuple):
    """A set, or with `data` a map. `key` and `data` are rows of data types; more than one is a concatenation."""

    name: str
    key: tuple[int, ...]
    data: tuple[int, ...] = ()
    interval: bool = False


class Element(NamedTuple):
    """`key` and `data` as `value` makes them. `end` closes an interval: the first value that is not in it."""

    key: bytes
    data: bytes = b""
    end: bool = False


def _message(kind: int, table: Table, flags: int, name: str, body: bytes) -> Request:
    header = struct.pack(">BBH", table.family, 0, 0)
    return Request(f"nft {name}", _SUBSYSTEM | kind, flags, header + body)


# ------------------------------------------------------------------------------------- tables, chains, sets, rules


def new_table(table: Table, flags: int = 0) -> Request:
    """Make the table, or take over an orphaned one when `flags` say owner (EPERM: another process owns it)."""
    body = string(1, table.name) + be32(2, flags)
    return _message(NFT_MSG_NEWTABLE, table, NLM_F_CREATE, f"add table {table.name}", body)


def delete_table(table: Table) -> Request:
    """Delete the table with everything in it. Fails with ENOENT when there is none."""
    return _message(NFT_MSG_DELTABLE, table, 0, f"delete table {table.name}", string(1, table.name))


def base_chain(table: Table, name: str, kind: str, hook: int, priority: int) -> Request:
    """A chain that packets enter at a hook, with policy accept. `kind` is "filter", "nat" or "route"."""
    where = nest(4, be32(1, hook), be32(2, priority & 0xFFFFFFFF))
    body = string(1, table.name) + string(3, name) + where + be32(5, ACCEPT) + string(7, kind)
    return _message(NFT_MSG_NEWCHAIN, table, NLM_F_CREATE, f"add chain {name}", body)


def ingress_chain(table: Table, name: str, device: str) -> Request:
    """A chain of a NETDEV table that every frame which comes by that device enters, before a bridge or any other part
    of the kernel has it; what no rule accepts is dropped. ENOENT when there is no such device (before Linux 6.16, where
    it comes when the device does). Up to then it goes with its device."""
    where = nest(4, be32(1, INGRESS), be32(2, 0), string(3, device))
    body = string(1, table.name) + string(3, name) + where + be32(5, DROP) + string(7, "filter")
    return _message(NFT_MSG_NEWCHAIN, table, NLM_F_CREATE, f"add chain {name}", body)


def delete_chain(table: Table, name: str) -> list[Request]:
    """With its rules. Fails with ENOENT when there is none."""
    rules = _message(NFT_MSG_DELRULE, table, 0, f"flush chain {name}", string(1, table.name) + string(2, name))
    body = string(1, table.name) + string(3, name)
    return [rules, _message(NFT_MSG_DELCHAIN, table, 0, f"delete chain {name}", body)]


def chain(table: Table, name: str) -> Request:
    """A chain that is only jumped to."""
    body = string(1, table.name) + string(3, name)
    return _message(NFT_MSG_NEWCHAIN, table, NLM_F_CREATE, f"add chain {name}", body)


def new_set(table: Table, definition: Set, number: int) -> Request:
    """`number` is any that no other set of the same batch has."""
    flags = (NFT_SET_INTERVAL if definition.interval else 0) | (NFT_SET_MAP if definition.data else 0)
    body = string(1, table.name) + string(2, definition.name) + be32(3, flags)
    body += be32(4, _type(definition.key)) + be32(5, _width(definition.key)) + be32(10, number)
    order = _BIG_ENDIAN if IFNAME not in definition.key else _HOST_ENDIAN
    notes = struct.pack("=BBI", 0, 4, order)  # for `nft list`: NFTNL_UDATA_SET_KEYBYTEORDER, length, value
    if definition.data:
        body += be32(6, _type(definition.data)) + be32(7, _width(definition.data))
        notes += struct.pack("=BBI", 1, 4, _BIG_ENDIAN)
    body += attribute(13, notes)
    return _message(NFT_MSG_NEWSET, table, NLM_F_CREATE, f"add set {definition.name}", body)


def _type(kinds: Sequence[int]) -> int:
    number = 0
    for kind in kinds:  # six bits each, as nft packs a concatenation's types
        number = number << 6 | kind
    return number


def _width(kinds: Sequence[int]) -> int:
    if len(kinds) == 1:
        return _LENGTHS[kinds[0]]
    return sum((_LENGTHS[kind] + 3) & ~3 for kind in kinds)


def value(*parts: bytes) -> bytes:
    """The parts of a key or a datum as they stand in registers: each padded to 4 bytes, a single one not at all."""
    if len(parts) == 1:
        return parts[0]
    return b"".join(part + bytes(-len(part) % 4) for part in parts)


def ifname(name: str) -> bytes:
    """An interface's name as a key: 16 bytes, padded with zeros. Raises ValueError when it is too long."""
    raw = name.encode()
    if len(raw) > 15:
        raise ValueError(f"interface name longer than 15 bytes: {name!r}")
    return raw.ljust(16, b"\0")


def port(number: int) -> bytes:
    return struct.pack(">H", number)


def number(value: int) -> bytes:
    return struct.pack("=I", value)


def add_elements(table: Table, name: str, elements: Sequence[Element]) -> list[Request]:
    """Add elements; one that exists is fine. Fails with EEXIST for a map's key with other data."""
    return [
        _message(NFT_MSG_NEWSETELEM, table, NLM_F_CREATE, f"add element {table.name} {name}", body)
        for body in _element_lists(table, name, elements)
    ]


def delete_elements(table: Table, name: str, elements: Sequence[Element]) -> list[Request]:
    """Delete elements. Fails with ENOENT when one is absent, and then nothing of the batch is done."""
    return [
        _message(NFT_MSG_DELSETELEM, table, 0, f"delete element {table.name} {name}", body)
        for body in _element_lists(table, name, elements)
    ]


def _element_lists(table: Table, name: str, elements: Sequence[Element]) -> Iterator[bytes]:
    for start in range(0, len(elements), _ELEMENTS_PER_MESSAGE):
        part = elements[start : start + _ELEMENTS_PER_MESSAGE]
        yield string(1, table.name) + string(2, name) + nest(3, *(_element(e) for e in part))


def _element(element: Element) -> bytes:
    content = nest(1, attribute(1, element.key))
    if element.data:
        content += nest(2, attribute(1, element.data))
    if element.end:
        content += be32(3, NFT_SET_ELEM_INTERVAL_END)
    return nest(1, content)


def rule(table: Table, chain: str, *expressions: bytes) -> Request:
    """Append a rule."""
    body = string(1, table.name) + string(2, chain) + nest(4, *expressions)
    return _message(NFT_MSG_NEWRULE, table, NLM_F_CREATE | NLM_F_APPEND, f"add rule {chain}", body)


# --------------------------------------------------------------------------------------------------- expressions


def _expression(name: str, *data: bytes) -> bytes:
    return nest(1, string(1, name), nest(2, *data))


def _register(kind: int, register: int) -> bytes:
    return be32(kind, 8 + register)  # NFT_REG32_00 is 8


def meta(key: int, register: int) -> bytes:
    return _expression("meta", _register(1, register), be32(2, key))


def ct(key: int, register: int) -> bytes:
    return _expression("ct", _register(1, register), be32(2, key))


def fib_daddr_type(register: int) -> bytes:
    """What the routing table says of the destination: local, unicast, broadcast ... (a u32)."""
    return _expression("fib", _register(1, register), be32(2, 3), be32(3, 2))


def link_header(offset: int, length: int, register: int) -> bytes:
    """Of Ethernet, with the tags of VLANs as they were on the wire."""
    return _expression("payload", _register(1, register), be32(2, 0), be32(3, offset), be32(4, length))


def network_header(offset: int, length: int, register: int) -> bytes:
    return _expression("payload", _register(1, register), be32(2, 1), be32(3, offset), be32(4, length))


def transport_header(offset: int, length: int, register: int) -> bytes:
    return _expression("payload", _register(1, register), be32(2, 2), be32(3, offset), be32(4, length))


def random(register: int, below: int) -> bytes:
    """Another number from 0 on for each packet, a u32 of this machine's order (nft calls it a mark)."""
    return _expression("numgen", _register(1, register), be32(2, below), be32(3, 1))


def compare(register: int, data: bytes, operator: int = EQ) -> bytes:
    return _expression("cmp", _register(1, register), be32(2, operator), nest(3, attribute(1, data)))


def mask(register: int, bits: bytes) -> bytes:
    """register &= bits."""
    zero = nest(5, attribute(1, bytes(len(bits))))
    same = _register(1, register) + _register(2, register)
    return _expression("bitwise", same, be32(3, len(bits)), nest(4, attribute(1, bits)), zero)


def any_bit(register: int, bits: int) -> bytes:
    """The u32 in `register` has one of `bits`. Leaves the masked value there."""
    return mask(register, struct.pack("=I", bits)) + compare(register, bytes(4), NEQ)


def lookup(name: str, register: int, into: int | None = None, inverted: bool = False) -> bytes:
    """The key at `register` is in the set (or is not); of a map the datum goes to register `into`."""
    body = string(1, name) + _register(2, register)
    if into is not None:
        body += _register(3, into)
    if inverted:
        body += be32(5, 1)
    return _expression("lookup", body)


def verdict(code: int, target: str = "") -> bytes:
    content = be32(1, code & 0xFFFFFFFF) + (string(2, target) if target else b"")
    return _expression("immediate", be32(1, 0), nest(2, nest(2, content)))


def immediate(register: int, data: bytes) -> bytes:
    return _expression("immediate", _register(1, register), nest(2, attribute(1, data)))


def dnat(family: int, address: int, port: int) -> bytes:
    """To the address and the port in these registers."""
    return _expression("nat", be32(1, 1), be32(2, family), _register(3, address), _register(5, port))


def masquerade() -> bytes:
    return _expression("masq")


def counter() -> bytes:
    return _expression("counter")


# -------------------------------------------------------------------------------------------------- transactions


class Transactions:
    """A socket for transactions of one network namespace. Tables that were made with OWNER belong to this socket."""

    def __init__(self, fd: int | None = None) -> None:
        self.socket = Socket(NETLINK_NETFILTER, fd)
        self.socket.reserve(4 << 20, 4 << 20)

    def close(self) -> None:
        self.socket.close()

    def commit(self, requests: Sequence[Request]) -> None:
        """All of them or none. Raises the first failure as OSError."""
        if not requests:
            return
        begin = Request("nft begin", _BATCH_BEGIN, 0, struct.pack(">BBH", 0, 0, 10))
        end = Request("nft end", _BATCH_END, 0, struct.pack(">BBH", 0, 0, 10))
        last = requests[-1]._replace(flags=requests[-1].flags | NLM_F_ACK)
        batch = [begin, *requests[:-1], last, end]
        found = self.socket.answers(batch)
        refused = [(r, a) for r, a in zip(batch, found) if a is not None and a.number]
        for request, _ in refused:
            raise_first([request], [a for r, a in refused if r is request])
        raise_first([last], [found[-2]])  # the requests before it are not answered when they succeed

    def tables(self) -> list[Table]:
        """Every table of the namespace."""
        listing = self._list(NFT_MSG_GETTABLE, 0, b"", "list tables")
        return [Table(m.body[0], text(attributes(m.body, 4)[1])) for m in listing]

    def chains(self) -> list[Chain]:
        """The base chains of every table, of other programs too: to see what they drop, never to change them."""
        found = []
        for message in self._list(NFT_MSG_GETCHAIN, 0, b"", "list chains"):
            values = attributes(message.body, 4)
            if 4 in values:
                hook = struct.unpack(">I", attributes(values[4])[1])[0]
                policy = struct.unpack(">I", values.get(5, struct.pack(">I", ACCEPT)))[0]
                found.append(Chain(message.body[0], text(values[1]), text(values[3]), hook, policy))
        return found

    def closed(self, chain: Chain) -> bool:
        """What none of its rules lets pass is dropped or refused: by its policy, or by a last rule for everything."""
        if chain.policy == DROP:
            return True
        body = string(1, chain.table) + string(2, chain.name)
        rules = self._list(NFT_MSG_GETRULE, chain.family, body, f"list rules of {chain.name}")
        own = [values for m in rules if text((values := attributes(m.body, 4))[2]) == chain.name]
        return bool(own) and _refuses(own[-1].get(4, b""))

    def elements(self, table: Table, name: str) -> list[Element]:
        """The elements of a set. Raises ENOENT without it.

        The kernel lists some a datagram, and goes on at the place that it has come to. A set that grows is rearranged
        behind its back: as many elements then come twice as are left out, and the list is asked for again.
        """
        for _ in range(_TRIES):
            found = self._elements_once(table, name)
            whole = list(dict.fromkeys(found))
            if len(whole) == len(found):
                break
        return whole

    def _elements_once(self, table: Table, name: str) -> list[Element]:
        body = string(1, table.name) + string(2, name)
        found = []
        for message in self._list(NFT_MSG_GETSETELEM, table.family, body, f"list set {name}"):
            for _, raw in attribute_list(attributes(message.body, 4).get(3, b"")):
                values = attributes(raw)
                data = attributes(values[2]).get(1, b"") if 2 in values else b""
                found.append(Element(attributes(values[1])[1], data, bool(values.get(3, b"\0\0\0\0")[-1] & 1)))
        return found

    def _list(self, kind: int, family: int, body: bytes, name: str) -> list[Message]:
        request = Request(f"nft {name}", _SUBSYSTEM | kind, 0, struct.pack(">BBH", family, 0, 0) + body)
        return self.socket.dump(request)


def _refuses(expressions: bytes) -> bool:
    """A rule without a condition that ends in a drop or a reject."""
    ends = False
    for _, raw in attribute_list(expressions):
        values = attributes(raw)
        name, data = text(values[1]), attributes(values.get(2, b""))
        if name == "immediate" and (verdict_ := attributes(data.get(2, b"")).get(2)):
            ends = attributes(verdict_).get(1) == struct.pack(">I", DROP)
        elif name == "reject" or (name == "target" and text(data.get(1, b"")) == "REJECT"):
            ends = True
        elif name not in ("counter", "log", "limit"):
            return False
    return ends


def changed_table(message: Message) -> str | None:
    """The table that a notification of NFNLGRP_NFTABLES is about; None for anything else."""
    if message.kind & 0xFF00 != _SUBSYSTEM or message.kind == NLMSG_ERROR:
        return None
    name = attributes(message.body, 4).get(1) if message.kind & 0xFF <= NFT_MSG_DELSETELEM else None
    return text(name) if name else None


def unsupported(error: OSError) -> bool:
    """The kernel does not know a flag that was asked for."""
    return error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTSUP)
